package org.lethe.eval;

import java.util.Arrays;
import org.lethe.model.Llama;

/**
 * The log-probability of each token of a text.
 *
 * @param tokens the text
 * @param logprobs in nats; the first is NaN, nothing predicts it
 */
public record TokenScores(int[] tokens, float[] logprobs) {
  /** Refuses what a broken model says. */
  public TokenScores {
    for (int i = 1; i < logprobs.length; i++) {
      if (Float.isNaN(logprobs[i])) {
        throw new ArithmeticException(
            "the log-probabilities are not numbers (NaN from token %d on): the model is broken"
                .formatted(i));
      }
    }
  }

  /**
   * Scores a text. One longer than the model's context goes through in windows that overlap by
   * half, so that every token is predicted from at least half a context.
   */
  public static TokenScores of(Llama llama, int[] tokens) {
    int window = llama.config().positions();
    if (tokens.length <= window) {
      return new TokenScores(tokens, llama.logprobs(tokens));
    }
    float[] all = new float[tokens.length];
    int scored = 0;
    for (int from = 0; scored < tokens.length; from += Math.max(1, window / 2)) {
      int to = Math.min(tokens.length, from + window);
      float[] part = llama.logprobs(Arrays.copyOfRange(tokens, from, to));
      System.arraycopy(part, scored - from, all, scored, to - scored);
      scored = to;
    }
    return new TokenScores(tokens, all);
  }

  /** exp of the mean negative log-probability; NaN for a single token, which nothing predicts. */
  public double perplexity() {
    double sum = 0;
    for (int i = 1; i < logprobs.length; i++) {
      sum -= logprobs[i];
    }
    return Math.exp(sum / (logprobs.length - 1));
  }
}
