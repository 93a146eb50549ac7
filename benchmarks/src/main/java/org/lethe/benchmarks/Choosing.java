package org.lethe.benchmarks;

import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Choosing tokens by their logits F32 (N, V): the largest of a row, the ten most probable. */
public class Choosing extends Operation {
  private static final int K = 10;

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  /** Rows: one in decoding. */
  @Param({"1", "512"})
  public int rows = 1;

  private Rotation<Tensor> logits;
  private Tensor largest;
  private Tensor index;
  private Tensor probability;
  private Rates.Work work;

  /** Made by JMH. */
  public Choosing() {}

  @Override
  void prepare() {
    double n = (double) rows * sizes.vocabulary;
    logits = rotation(bytes(n), i -> random(dtype, 4, i, rows, sizes.vocabulary));
    largest = device.allocate("largest", DType.I32, rows);
    index = device.allocate("index", DType.I32, rows, K);
    probability = device.allocate("probability", DType.F32, rows, K);
    work = work(0, bytes(n));
  }

  /** The largest of each row. */
  @Benchmark
  public Tensor argmax(Rates rates, Machine machine) {
    kernels.argmax(largest, logits.next());
    rates.add(work);
    return largest;
  }

  /** The ten most probable of each row. */
  @Benchmark
  public Tensor topK(Rates rates, Machine machine) {
    kernels.topK(index, probability, logits.next());
    rates.add(work);
    return index;
  }

  @Override
  void check() {
    Tensor x = logits.next();
    kernels.argmax(largest, x);
    kernels.topK(index, probability, x);
    float[] row = x.rows(0, 1).toFloats();
    int best = 0;
    for (int i = 1; i < row.length; i++) {
      best = row[i] > row[best] ? i : best;
    }
    if (largest.toInts()[0] != best || index.toInts()[0] != best) {
      throw new IllegalStateException(
          "the largest of the first row is %d, argmax says %d, top k %d"
              .formatted(best, largest.toInts()[0], index.toInts()[0]));
    }
  }
}
