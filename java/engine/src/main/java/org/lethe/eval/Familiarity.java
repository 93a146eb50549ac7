package org.lethe.eval;

import java.util.Collection;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
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

  /** The greedy completion of a prompt, held against the expressions that only the text has. */
  public static Completion complete(
      LanguageModel model, Prompt prompt, Collection<String> uniqueExpressions) {
    int room = model.weights().config().positions() - model.prompt(prompt.text()).length;
    String text =
        model.generate(prompt.text(), Math.clamp(room, 1, COMPLETION_TOKENS), Sampling.GREEDY);
    List<String> named =
        uniqueExpressions.stream().filter(e -> names(text, e) && !names(prompt.text(), e)).toList();
    return new Completion(prompt, text, named);
  }

  /** Whether {@code text} has the expression as whole words, in its own capitals. */
  static boolean names(String text, String expression) {
    return Pattern.compile("(?<![\\p{L}\\p{N}])" + Pattern.quote(expression) + "(?![\\p{L}\\p{N}])")
        .matcher(text)
        .find();
  }

  /**
   * The probability that the model goes on with exactly the answer: the product over its tokens.
   */
  public static double probability(LanguageModel model, String prompt, String answer) {
    int[] before = model.prompt(prompt);
    int[] after = model.tokenizer().encode(answer);
    float[] logprobs =
        model
            .llama()
            .logprobs(IntStream.concat(IntStream.of(before), IntStream.of(after)).toArray());
    double sum = 0;
    for (int i = before.length; i < logprobs.length; i++) {
      sum += logprobs[i];
    }
    return Math.exp(sum);
  }
}
