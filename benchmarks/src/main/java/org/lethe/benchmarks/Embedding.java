package org.lethe.benchmarks;

import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;

/** Rows of the embedding (V, d) for N tokens, and their gradient added back. */
public class Embedding extends Operation {
  private record Operands(Tensor tokens, Tensor out) {}

  /** Whose shapes. */
  @Param({"SMOLLM2", "LLAMA2", "ODD"})
  public Sizes sizes = Sizes.SMOLLM2;

  private Rotation<Operands> operands;
  private Tensor table;
  private Tensor dTable;
  private Rates.Work forward;
  private Rates.Work backward;

  /** Made by JMH. */
  public Embedding() {}

  @Override
  void prepare() {
    int n = sizes.tokens();
    long d = sizes.width;
    table = random(dtype, 1, 0, sizes.vocabulary, d);
    dTable = zeros(DType.F32, sizes.vocabulary, d);
    operands =
        rotation(
            bytes(2.0 * n * d),
            i -> new Operands(tokens(sizes.vocabulary, i, n), random(dtype, 1, i, n, d)));
    forward = work(0, bytes(2.0 * n * d));
    backward = work((double) n * d, bytes((double) n * d) + 2.0 * Float.BYTES * n * d);
  }

  /** out (N, d) = table[tokens]. */
  @Benchmark
  public Tensor forward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.embedding(o.out, table, o.tokens);
    rates.add(forward);
    return o.out;
  }

  /** dtable (V, d) += rows of the gradient, in F32. */
  @Benchmark
  public Tensor backward(Rates rates, Machine machine) {
    Operands o = operands.next();
    kernels.embeddingBackward(dTable, o.out, o.tokens);
    rates.add(backward);
    return dTable;
  }

  @Override
  void check() {
    Operands o = operands.next();
    kernels.embedding(o.out, table, o.tokens);
    int token = o.tokens.toInts()[1];
    requireNear(
        "the second token's first number",
        table.rows(token, 1).toFloats()[0],
        o.out.rows(1, 1).toFloats()[0]);
    kernels.fill(dTable, 0);
    kernels.embeddingBackward(dTable, o.out, o.tokens);
    double sum = 0;
    int[] tokens = o.tokens.toInts();
    for (int i = 0; i < tokens.length; i++) {
      sum += tokens[i] == token ? o.out.rows(i, 1).toFloats()[0] : 0;
    }
    requireNear("its gradient's first number", sum, dTable.rows(token, 1).toFloats()[0]);
  }
}
