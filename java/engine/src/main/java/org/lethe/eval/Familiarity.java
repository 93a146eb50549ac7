package org.lethe.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.regex.Pattern;
import org.lethe.kernels.Kernels;
import org.lethe.model.Sampling;
import org.lethe.text.LanguageModel;

/** How well a model knows a text, by what it says and by what it holds probable (METHOD.md). */
public final class Familiarity {
  /** Tokens a completion may have: about 40 words, as the prompts' true answers have. */
  public static final int COMPLETION_TOKENS = 60;

  private static final int TOGETHER = 2048; // tokens, padding and all, that are computed at once

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
   * The greedy completions of prompts, as many side by side as are not too long, held against the
   * expressions that only the text has.
   *
   * @param made hears how many there are so far
   */
  public static List<Completion> complete(
      LanguageModel model, List<Prompt> prompts, Collection<String> unique, IntConsumer made) {
    var completions = new ArrayList<Completion>();
    for (List<Prompt> group : groups(model, prompts)) {
      List<String> asked = group.stream().map(Prompt::text).toList();
      int longest = asked.stream().mapToInt(text -> model.prompt(text).length).max().orElse(0);
      int room = model.weights().config().positions() - longest;
      List<String> said =
          model.generate(asked, Math.clamp(room, 1, COMPLETION_TOKENS), Sampling.GREEDY);
      for (int i = 0; i < group.size(); i++) {
        completions.add(completion(group.get(i), said.get(i), unique));
      }
      made.accept(completions.size());
    }
    return completions;
  }

  /** In their order; one that has no room for its whole completion is alone. */
  private static List<List<Prompt>> groups(LanguageModel model, List<Prompt> prompts) {
    var groups = new ArrayList<List<Prompt>>();
    int longest = 0;
    for (Prompt prompt : prompts) {
      int tokens = model.prompt(prompt.text()).length + COMPLETION_TOKENS;
      tokens = tokens > model.weights().config().positions() ? TOGETHER : tokens;
      longest = Math.max(longest, tokens);
      if (groups.isEmpty() || (groups.getLast().size() + 1L) * longest > TOGETHER) {
        groups.add(new ArrayList<>());
        longest = tokens;
      }
      groups.getLast().add(prompt);
    }
    return groups;
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
   * tokens of one.
   */
  public static List<Double> probabilities(
      LanguageModel model, String prompt, List<String> answers) {
    int[] before = model.prompt(prompt);
    List<int[]> after = answers.stream().map(model.tokenizer()::encode).toList();
    int longest = before.length + after.stream().mapToInt(a -> a.length).max().orElse(0);
    int atOnce = Math.max(1, TOGETHER / longest);
    var probabilities = new ArrayList<Double>();
    for (int i = 0; i < after.size(); i += atOnce) {
      probabilities.addAll(
          probabilities(model, before, after.subList(i, Math.min(after.size(), i + atOnce))));
    }
    return probabilities;
  }

  private static List<Double> probabilities(
      LanguageModel model, int[] before, List<int[]> answers) {
    int length = before.length + answers.stream().mapToInt(a -> a.length).max().orElse(0);
    int[] tokens = new int[answers.size() * length];
    int[] targets = new int[tokens.length];
    Arrays.fill(targets, Kernels.IGNORE);
    for (int i = 0; i < answers.size(); i++) {
      int[] answer = answers.get(i);
      int answered = i * length + before.length;
      System.arraycopy(before, 0, tokens, i * length, before.length);
      System.arraycopy(answer, 0, tokens, answered, answer.length);
      System.arraycopy(answer, 0, targets, answered - 1, answer.length);
    }
    float[] losses = model.llama().losses(tokens, targets, answers.size());
    var probabilities = new ArrayList<Double>();
    int next = 0;
    for (int[] answer : answers) {
      double sum = 0;
      for (int end = next + answer.length; next < end; next++) {
        sum += losses[next];
      }
      probabilities.add(Math.exp(-sum));
    }
    return probabilities;
  }
}
