package org.lethe.benchmarks;

import java.util.Arrays;
import org.lethe.benchmarks.MatrixProduct.Product;
import org.lethe.kernels.DType;
import org.lethe.kernels.Kernels.Layout;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/**
 * Decoding's products, y = x Wᵀ of a row or a few, from the weight and from its packed form, where
 * the device has one; and packing it.
 */
public class ProductOfFewRows extends Operation {
  private record Operands(Tensor x, Tensor weight, Tensor packed, Tensor y) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  /** Which product. */
  @Param({"GATE_UP", "HEAD"})
  public Product product = Product.GATE_UP;

  /** Sequences side by side. */
  @Param({"1", "4"})
  public int rows = 1;

  private Rotation<Operands> operands;
  private Rates.Work fromWeight;
  private Rates.Work fromPacked;
  private Rates.Work packing;

  /** Made by JMH. */
  public ProductOfFewRows() {}

  @Override
  void prepare() {
    long in = product.inputs(sizes);
    long out = product.outputs(sizes);
    long bytes = kernels.packedBytes(dtype, out, in);
    double weight = bytes(out * in);
    double others = bytes(rows * (in + out));
    operands =
        rotation(
            weight,
            i -> {
              Tensor w = random(dtype, 1, i + 1, out, in);
              Tensor packed = zeros(DType.BF16, Math.max(1, bytes / 2));
              Tensor untyped = packed.cast("packed", DType.BYTE, 0, packed.bytes());
              kernels.pack(untyped, w);
              return new Operands(
                  random(dtype, 1, i, rows, in), w, untyped, zeros(dtype, rows, out));
            });
    double flop = 2.0 * rows * in * out;
    fromWeight = work(flop, weight + others);
    fromPacked = work(flop, (bytes > 0 ? bytes : weight) + others);
    packing = work(0, weight + bytes);
  }

  /** From the weight. */
  @Benchmark
  public Tensor plain(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.matmul(o.y, o.x, o.weight, Layout.NT, false);
    rates.add(fromWeight);
    return o.y;
  }

  /** From its packed form. */
  @Benchmark
  public Tensor packed(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.matmulPacked(o.y, o.x, o.packed, o.weight);
    rates.add(fromPacked);
    return o.y;
  }

  /** Packs the weight. */
  @Benchmark
  public Tensor pack(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.pack(o.packed, o.weight);
    rates.add(packing);
    return o.packed;
  }

  @Override
  void check() {
    Operands o = operands.next();
    kernels.matmul(o.y, o.x, o.weight, Layout.NT, false);
    float[] expected = o.y.toFloats();
    kernels.fill(o.y, 0);
    kernels.matmulPacked(o.y, o.x, o.packed, o.weight);
    if (!Arrays.equals(expected, o.y.toFloats())) {
      throw new IllegalStateException("the packed product has other bits");
    }
    requireNumbers(o.y);
  }
}
