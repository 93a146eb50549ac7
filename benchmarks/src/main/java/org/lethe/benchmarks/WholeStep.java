package org.lethe.benchmarks;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.Tensor;
import org.lethe.model.Generator;
import org.lethe.model.LlamaParameters;
import org.lethe.model.Sampling;
import org.lethe.text.LanguageModel;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Whole steps of a model at blocks of 512 tokens, in tokens a second: what {@code
 * peers/torch_bench.py} measures of PyTorch. The model is the one that {@code -Dlethe.model=PATH}
 * names.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Fork(1)
@Warmup(iterations = 1, time = 5)
@Measurement(iterations = 5, time = 5)
public class WholeStep {
  private static final int BLOCKS = 4;
  private static final int LENGTH = 512;
  private static final int DECODED = 64;

  /** What activations and products are in; weights are exact fp32 in both. */
  @Param({"BF16"})
  public DType dtype = DType.BF16;

  private Device device;
  private LanguageModel model;
  private Tensor gradient;
  private LlamaParameters gradients;
  private Tensor m;
  private Tensor v;
  private int[] tokens;
  private int[] targets;
  private long step;

  /** Set up by JMH. */
  public WholeStep() {}

  /** Loads the model. */
  @Setup(Level.Trial)
  public void load() {
    String path = System.getProperty("lethe.model");
    if (path == null) {
      throw new IllegalStateException("which model? -Dlethe.model=PATH");
    }
    device = Device.open("cpu");
    model = LanguageModel.openExact(device, Path.of(path), dtype);
    long n = model.weights().parameters().flat().elements();
    gradient = device.allocate("gradients", DType.F32, n);
    m = device.allocate("first moments", DType.F32, n);
    v = device.allocate("second moments", DType.F32, n);
    for (Tensor t : new Tensor[] {gradient, m, v}) {
      device.kernels().fill(t, 0);
    }
    gradients = new LlamaParameters(model.weights().config(), gradient);
    var random = new SplittableRandom(1);
    int vocabulary = model.weights().config().vocabulary();
    tokens = random.ints(BLOCKS * LENGTH, 0, vocabulary).toArray();
    targets = Arrays.copyOfRange(tokens, 1, tokens.length + 1);
    for (int b = 1; b <= BLOCKS; b++) {
      targets[b * LENGTH - 1] = Kernels.IGNORE;
    }
  }

  /** Frees it. */
  @TearDown(Level.Trial)
  public void close() {
    model.close();
    device.close();
  }

  /** Forward, backward and AdamW over 4 blocks. */
  @Benchmark
  @OperationsPerInvocation(BLOCKS * LENGTH)
  public double train() {
    float scale = 1f / (BLOCKS * (LENGTH - 1));
    double loss = model.llama().train(tokens, targets, BLOCKS, scale, gradients);
    device
        .kernels()
        .adamw(
            model.weights().parameters().flat(),
            model.weights().low(),
            gradient,
            m,
            v,
            new Kernels.AdamW(1e-6f, 0.9f, 0.999f, 1e-8f, 0, 1, ++step, 1),
            0);
    device.kernels().fill(gradient, 0);
    return finite(loss);
  }

  /** Forward over 4 blocks, with the loss of every position. */
  @Benchmark
  @OperationsPerInvocation(BLOCKS * LENGTH)
  public double forward() {
    return finite(model.llama().loss(tokens, targets, BLOCKS));
  }

  /** A prompt of 16 tokens and 64 more, greedily. */
  @Benchmark
  @OperationsPerInvocation(DECODED)
  public int decode() {
    int[] made =
        new Generator(model.llama())
            .generate(Arrays.copyOf(tokens, 16), DECODED, Sampling.GREEDY, token -> true);
    if (made.length != DECODED) {
      throw new IllegalStateException("the model stopped after " + made.length + " tokens");
    }
    return made[DECODED - 1];
  }

  private static double finite(double loss) {
    if (!Double.isFinite(loss)) {
      throw new IllegalStateException("the loss is " + loss);
    }
    return loss;
  }
}
