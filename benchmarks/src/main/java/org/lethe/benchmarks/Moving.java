package org.lethe.benchmarks;

import java.util.Arrays;
import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Filling, converting, and picking rows of (N, d). */
public class Moving extends Operation {
  private record Operands(Tensor x, Tensor y, Tensor wide) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  private Rotation<Operands> operands;
  private Tensor rows;
  private Rates.Work fill;
  private Rates.Work convert;
  private Rates.Work copy;

  /** Made by JMH. */
  public Moving() {}

  @Override
  void prepare() {
    int n = sizes.tokens();
    long d = sizes.width;
    operands =
        rotation(
            bytes(2.0 * n * d),
            i ->
                new Operands(
                    random(dtype, 1, i, n, d), zeros(dtype, n, d), zeros(DType.F32, n, d)));
    int[] reversed = new int[n];
    Arrays.setAll(reversed, i -> n - 1 - i);
    rows = device.of("rows", reversed, n);
    double elements = (double) n * d;
    fill = work(0, bytes(elements));
    convert = work(0, bytes(elements) + Float.BYTES * elements);
    copy = work(0, bytes(2 * elements));
  }

  /** x = a number. */
  @Benchmark
  public Tensor fill(Rates rates, Machine machine) {
    Tensor y = operands.next().y;
    kernels.fill(y, 1);
    rates.add(fill);
    return y;
  }

  /** F32 = x. */
  @Benchmark
  public Tensor convert(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.convert(o.wide, o.x);
    rates.add(convert);
    return o.wide;
  }

  /** y[r] = x[rows[r]]. */
  @Benchmark
  public Tensor gatherRows(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.gatherRows(o.y, o.x, rows);
    rates.add(copy);
    return o.y;
  }

  /** y[rows[r]] = x[r]. */
  @Benchmark
  public Tensor scatterRows(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.scatterRows(o.y, o.x, rows);
    rates.add(copy);
    return o.y;
  }

  @Override
  void check() {
    Operands o = operands.next();
    kernels.gatherRows(o.y, o.x, rows);
    requireNear(
        "the first row, picked last",
        o.x.rows(0, 1).toFloats()[0],
        o.y.rows(o.y.rows() - 1, 1).toFloats()[0]);
  }
}
