package org.lethe.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.IntPredicate;
import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;

/** Continues a prompt token by token, with a key/value cache. */
public final class Generator {
  private final Llama llama;

  /** A generator over {@code llama}, which stays the caller's to close. */
  public Generator(Llama llama) {
    this.llama = llama;
  }

  /**
   * Continues {@code prompt} by at most {@code maxTokens} tokens, to an end-of-text token, or until
   * {@code more} says no.
   *
   * @param more sees every new token; returns whether to go on
   * @return the new tokens, without the end-of-text token
   */
  public int[] generate(int[] prompt, int maxTokens, Sampling sampling, IntPredicate more) {
    if (prompt.length == 0) {
      throw new IllegalArgumentException("the prompt has no token");
    }
    if (maxTokens < 0) {
      throw new IllegalArgumentException(maxTokens + " new tokens were asked for");
    }
    long capacity = (long) prompt.length + maxTokens;
    if (capacity > llama.config().positions()) {
      throw new IllegalArgumentException(
          "%d tokens of prompt and %d more exceed the model's context of %d"
              .formatted(prompt.length, maxTokens, llama.config().positions()));
    }
    var random = new SplittableRandom(sampling.seed());
    int[] tokens = new int[maxTokens];
    int count = 0;
    try (KeyValueCache cache = new KeyValueCache(llama.weights(), (int) capacity);
        Tensor best = llama.weights().device().allocate("next token", DType.I32, 1);
        Arena arena = Arena.ofConfined()) {
      MemorySegment greedy = arena.allocate(ValueLayout.JAVA_INT);
      int[] latest = new int[1];
      int[] input = prompt;
      while (count < maxTokens) {
        int next = choose(llama.decode(input, cache), best, greedy, sampling, random);
        if (llama.config().eosTokens().contains(next)) {
          break;
        }
        tokens[count++] = next;
        if (!more.test(next)) {
          break;
        }
        latest[0] = next;
        input = latest;
      }
    }
    return Arrays.copyOf(tokens, count);
  }

  private int choose(
      Tensor logits,
      Tensor best,
      MemorySegment staged,
      Sampling sampling,
      SplittableRandom random) {
    llama.weights().device().kernels().argmax(best, logits);
    best.copyTo(staged);
    int greedy = staged.get(ValueLayout.JAVA_INT, 0);
    if (greedy < 0) {
      throw new ArithmeticException("the model's logits are not numbers (NaN)");
    }
    return sampling.greedy() ? greedy : sampling.draw(logits.toFloats(), random);
  }
}
