package org.lethe.benchmarks;

import java.util.Arrays;
import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;
import org.lethe.model.Generator;
import org.lethe.model.KeyValueCache;
import org.lethe.model.Sampling;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OperationsPerInvocation;

/** One sequence, token by token; per token. */
public class Decoding extends ModelOperation {
  private static final int PROMPT = 16;
  private static final int DECODED = 64;
  private static final int CAPACITY = 512;

  private final int[] token = new int[1];
  private int[] prompt;
  private KeyValueCache cache;
  private Tensor best;
  private Rates.Work generated;
  private Rates.Work decoded;
  private double crossings;

  /** Made by JMH. */
  public Decoding() {}

  @Override
  void prepare() {
    load(false);
    prompt = Arrays.copyOf(tokens, PROMPT);
    cache = new KeyValueCache(weights, CAPACITY);
    best = device.allocate("best", DType.I32, 1);
    var generate = StepCost.decoding(config, dtype, PROMPT + DECODED / 2);
    generated = work(DECODED * generate.flop(), DECODED * generate.bytes());
    var one = StepCost.decoding(config, dtype, CAPACITY / 2);
    decoded = work(one.flop(), one.bytes());
    llama.decode(prompt, cache);
    next();
    crossings = Crossings.seconds(device, this::next);
  }

  /** A prompt of 16 tokens and 64 more, greedily. */
  @Benchmark
  @OperationsPerInvocation(DECODED)
  public int generate(Rates rates, Machine machine) {
    int[] made = new Generator(llama).generate(prompt, DECODED, Sampling.GREEDY, each -> true);
    if (made.length != DECODED) {
      throw new IllegalStateException("the model stopped after " + made.length + " tokens");
    }
    rates.add(generated);
    return made[DECODED - 1];
  }

  /** The next token after up to 511 others, greedily, whatever it is. */
  @Benchmark
  public int oneToken(Rates rates, Crossings border, Machine machine) {
    if (cache.length() == CAPACITY) {
      cache.clear();
      llama.decode(prompt, cache);
    }
    int next = next();
    rates.add(decoded);
    border.crossings += crossings;
    return next;
  }

  private int next() {
    kernels.argmax(best, llama.decode(token, cache));
    return token[0] = best.toInts()[0];
  }

  @Override
  void check() {
    int next = best.toInts()[0];
    if (next < 0 || next >= config.vocabulary()) {
      throw new IllegalStateException("the next token is " + next);
    }
    cache.close();
  }
}
