package org.lethe.benchmarks;

import java.util.Arrays;
import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/**
 * The labels of a block: argmax of g - alpha max(0, r - g) over the vocabulary, for three alphas at
 * once, with forbidden tokens.
 */
public class LabelMaking extends Operation {
  private static final float[] ALPHAS = {5, 2.5f, 10};
  private static final int FORBIDDEN = 40;

  private record Operands(Tensor baseline, Tensor reinforced) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  private Rotation<Operands> operands;
  private Tensor labels;
  private Tensor mapping;
  private Tensor forbidden;
  private Tensor after;
  private Rates.Work work;

  /** Made by JMH. */
  public LabelMaking() {}

  @Override
  void prepare() {
    int t = sizes.length;
    int v = sizes.vocabulary;
    double logits = (double) t * v;
    operands =
        rotation(
            bytes(2 * logits),
            i -> new Operands(random(dtype, 4, i, t, v), random(dtype, 4, i + 1, t, v)));
    labels = device.allocate("labels", DType.I32, ALPHAS.length, t);
    int[] rows = new int[t];
    Arrays.setAll(rows, i -> i);
    mapping = device.of("mapping", rows, t);
    forbidden = tokens(v, 1, FORBIDDEN);
    after = tokens(t, 2, FORBIDDEN);
    work = work(4 * ALPHAS.length * logits, bytes(2 * logits));
  }

  /** Every position of a block of T. */
  @Benchmark
  public Tensor label(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.genericLabels(labels, o.baseline, o.reinforced, mapping, forbidden, after, ALPHAS);
    rates.add(work);
    return labels;
  }

  @Override
  void check() {
    for (int label : labels.toInts()) {
      if (label < 0 || label >= sizes.vocabulary) {
        throw new IllegalStateException("a label is " + label);
      }
    }
  }
}
