package org.lethe.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.lethe.kernels.Kernels;
import org.lethe.model.Sampling;
import org.lethe.text.LanguageModel;

/** How well a model knows a text, by what it says and by what it holds probable (METHOD.md). */
public final class Familiarity {
  /** Tokens a completion may have: about 40 words, as the prompts' true answers have. */
  public static final int COMPLETION_TOKENS = 60;

  private Familiarity() {}

  /**
   * What a model made of a prompt.
   *
   * @param text the greedy completion
   * @param named unique expressions it names and the prompt does not
   */
  public record Completion(Prompt prompt, String text, List<String> named) {
    /** Whether it shows that the model knows the text. */
    public boolean familiar() {
      return !named.isEmpty();
    }
  }

  /**
   * The greedy completions of prompts, side by side, held against the expressions that only the
   * text has.
   */
  public static List<Completion> complete(
      LanguageModel model, List<Prompt> prompts, Collection<String> uniqueExpressions) {
    List<String> asked = prompts.stream().map(Prompt::text).toList();
    int longest = asked.stream().mapToInt(text -> model.prompt(text).length).max().orElse(0);
    int room = model.weights().config().positions() - longest;
    List<String> made =
        model.generate(asked, Math.clamp(room, 1, COMPLETION_TOKENS), Sampling.GREEDY);
    return IntStream.range(0, made.size())
        .mapToObj(i -> completion(prompts.get(i), made.get(i), uniqueExpressions))
        .toList();
  }

  private static Completion completion(Prompt prompt, String text, Collection<String> unique) {
    List<String> named =
        unique.stream().filter(e -> names(text, e) && !names(prompt.text(), e)).toList();
    return new Completion(prompt, text, named);
  }

  /** Whether {@code text} has the expression as whole words, in its own capitals. */
  static boolean names(String text, String expression) {
    return Pattern.compile("(?<![\\p{L}\\p{N}])" + Pattern.quote(expression) + "(?![\\p{L}\\p{N}])")
        .matcher(text)
        .find();
  }

  /**
   * The probabilities that the model goes on with exactly each of the answers: the product over the
   * tokens of one. All of them are computed side by side.
   */
  public static List<Double> probabilities(
      LanguageModel model, String prompt, List<String> answers) {
    int[] before = model.prompt(prompt);
    List<int[]> after = answers.stream().map(model.tokenizer()::encode).toList();
    int length = before.length + after.stream().mapToInt(a -> a.length).max().orElse(0);
    int[] tokens = new int[answers.size() * length];
    int[] targets = new int[tokens.length];
    Arrays.fill(targets, Kernels.IGNORE);
    for (int i = 0; i < answers.size(); i++) {
      int[] answer = after.get(i);
      int answered = i * length + before.length;
      System.arraycopy(before, 0, tokens, i * length, before.length);
      System.arraycopy(answer, 0, tokens, answered, answer.length);
      System.arraycopy(answer, 0, targets, answered - 1, answer.length);
    }
    float[] losses = model.llama().losses(tokens, targets, answers.size());
    var probabilities = new ArrayList<Double>();
    int next = 0;
    for (int[] answer : after) {
      double sum = 0;
      for (int end = next + answer.length; next < end; next++) {
        sum += losses[next];
      }
      probabilities.add(Math.exp(-sum));
    }
    return probabilities;
  }
}
