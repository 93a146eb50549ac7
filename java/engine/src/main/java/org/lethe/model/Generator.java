package org.lethe.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.IntPredicate;
import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;

/** Continues prompts token by token, with a key/value cache. */
public final class Generator {
  private final Llama llama;

  /** A generator over {@code llama}, which stays the caller's to close. */
  public Generator(Llama llama) {
    this.llama = llama;
  }

  /** Sees every new token; returns whether its sequence goes on. */
  @FunctionalInterface
  public interface More {
    /** {@code token} is the latest of the sequence of that index. */
    boolean after(int sequence, int token);
  }

  /**
   * Continues {@code prompt} by at most {@code maxTokens} tokens, to an end-of-text token, or until
   * {@code more} says no.
   *
   * @param more sees every new token; returns whether to go on
   * @return the new tokens, without the end-of-text token
   */
  public int[] generate(int[] prompt, int maxTokens, Sampling sampling, IntPredicate more) {
    return generate(List.of(prompt), maxTokens, sampling, (sequence, token) -> more.test(token))
        .getFirst();
  }

  /**
   * Continues several prompts side by side: the weights are read once for all of them, so that a
   * few cost little more than one. They are computed until the last has ended.
   *
   * @param sampling prompt i draws with the seed plus i
   * @return the new tokens of each, as those of one prompt
   */
  public List<int[]> generate(List<int[]> prompts, int maxTokens, Sampling sampling, More more) {
    int capacity = capacity(prompts, maxTokens);
    if (prompts.isEmpty()) {
      return List.of();
    }
    var sequences = new ArrayList<Sequence>();
    var inputs = new ArrayList<int[]>(prompts);
    for (int i = 0; i < prompts.size(); i++) {
      sequences.add(new Sequence(maxTokens, sampling.seed() + i));
    }
    try (KeyValueCache cache = new KeyValueCache(llama.weights(), prompts.size(), capacity);
        Tensor best = llama.weights().device().allocate("next token", DType.I32, prompts.size());
        Arena arena = Arena.ofConfined()) {
      MemorySegment greedy = arena.allocate(ValueLayout.JAVA_INT, prompts.size());
      for (int step = 0; step < maxTokens && !Sequence.allEnded(sequences); step++) {
        Tensor logits = llama.decode(inputs, cache);
        llama.weights().device().kernels().argmax(best, logits);
        best.copyTo(greedy);
        for (int i = 0; i < sequences.size(); i++) {
          Sequence sequence = sequences.get(i);
          if (!sequence.ended) {
            int next =
                choose(logits, i, greedy.getAtIndex(ValueLayout.JAVA_INT, i), sampling, sequence);
            sequence.ended = llama.config().eosTokens().contains(next);
            if (!sequence.ended) {
              sequence.add(next);
              sequence.ended = !more.after(i, next);
            }
          }
          inputs.set(i, sequence.latest); // one that has ended goes on unheard
        }
      }
    }
    return sequences.stream().map(Sequence::made).toList();
  }

  private int capacity(List<int[]> prompts, int maxTokens) {
    if (maxTokens < 0) {
      throw new IllegalArgumentException(maxTokens + " new tokens were asked for");
    }
    long longest = 0;
    for (int[] prompt : prompts) {
      longest = Math.max(longest, prompt.length);
      if (prompt.length == 0) {
        throw new IllegalArgumentException("the prompt has no token");
      }
    }
    if (longest + maxTokens > llama.config().positions()) {
      throw new IllegalArgumentException(
          "%d tokens of prompt and %d more exceed the model's context of %d"
              .formatted(longest, maxTokens, llama.config().positions()));
    }
    return Math.toIntExact(longest + maxTokens);
  }

  private static int choose(
      Tensor logits, int row, int greedy, Sampling sampling, Sequence sequence) {
    if (greedy < 0) {
      throw new ArithmeticException("the model's logits are not numbers (NaN)");
    }
    return sampling.greedy()
        ? greedy
        : sampling.draw(logits.rows(row, 1).toFloats(), sequence.random);
  }

  /** What has been made of a prompt so far. */
  private static final class Sequence {
    final SplittableRandom random;
    final int[] latest = new int[1];
    final int[] tokens;
    int count;
    boolean ended;

    Sequence(int maxTokens, long seed) {
      this.tokens = new int[maxTokens];
      this.random = new SplittableRandom(seed);
    }

    static boolean allEnded(List<Sequence> sequences) {
      return sequences.stream().allMatch(sequence -> sequence.ended);
    }

    void add(int token) {
      tokens[count++] = token;
      latest[0] = token;
    }

    int[] made() {
      return Arrays.copyOf(tokens, count);
    }
  }
}
