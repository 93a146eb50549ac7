package org.lethe.benchmarks;

import org.lethe.model.Generator;
import org.lethe.model.Llama;
import org.lethe.model.LlamaWork;
import org.lethe.model.Sampling;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.Param;

/** One sequence, token by token; per token. */
public class Decoding extends ModelOperation {
  private static final int PROMPT = 16;
  private static final int DECODED = 64;

  /** Whether the weights are packed, where the device can. */
  @Param({"false", "true"})
  public boolean packed;

  private int[] prompt;
  private Llama llama;
  private Rates.Work generated;
  private Rates.Work decoded;
  private double crossings;

  /** Made by JMH. */
  public Decoding() {}

  @Override
  void prepare() {
    load(false);
    llama = new Llama(steps.weights());
    double saved =
        packed && steps.weights().pack()
            ? bytes(LlamaWork.matrices(steps.config())) - steps.weights().packedBytes()
            : 0;
    prompt = Noise.tokens(steps.config().vocabulary(), 1, PROMPT);
    var generate = LlamaWork.decoding(steps.config(), dtype, PROMPT + DECODED / 2);
    generated = work(DECODED * generate.flops(), DECODED * (generate.bytes() - saved));
    var one = LlamaWork.decoding(steps.config(), dtype, Steps.CACHE / 2);
    decoded = work(one.flops(), one.bytes() - saved);
    steps.decode();
    crossings = Crossings.seconds(device, steps::decode);
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

  /** The next token after up to 255 others, greedily, whatever it is. */
  @Benchmark
  public int oneToken(Rates rates, Crossings border, Machine machine) {
    rates.add(decoded);
    border.crossings += crossings;
    return steps.decode();
  }

  @Override
  void check() {
    steps.decode(); // throws on what is no token
  }

  @Override
  void finish() {
    llama.close();
    super.finish();
  }
}
