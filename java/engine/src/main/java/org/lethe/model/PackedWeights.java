package org.lethe.model;

import java.util.IdentityHashMap;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;

/** Matrices packed without loss, by the matrices they were made of. */
final class PackedWeights implements AutoCloseable {
  private final MemoryPlan.Arena arena;
  private final IdentityHashMap<Tensor, Tensor> packed = new IdentityHashMap<>();

  private PackedWeights(Device device, List<Tensor> matrices, MemoryPlan plan) {
    arena = plan.allocate(device);
    for (int i = 0; i < matrices.size(); i++) {
      Tensor matrix = matrices.get(i);
      packed.put(matrix, arena.get(name(i)));
      device.kernels().pack(arena.get(name(i)), matrix);
    }
  }

  /** Packs them; null where their device has no packed form of such. */
  static @Nullable PackedWeights of(List<Tensor> matrices) {
    MemoryPlan plan = plan(matrices);
    return plan.bytes() == 0
        ? null
        : new PackedWeights(matrices.getFirst().device(), matrices, plan);
  }

  /** What they take; nothing where there is no packed form. */
  static MemoryPlan plan(List<Tensor> matrices) {
    var plan = new MemoryPlan("weights, packed");
    for (int i = 0; i < matrices.size(); i++) {
      Tensor matrix = matrices.get(i);
      long bytes =
          matrix.device().kernels().packedBytes(matrix.dtype(), matrix.rows(), matrix.width());
      if (bytes > 0) {
        plan.add(name(i), DType.BYTE, bytes);
      }
    }
    return plan;
  }

  private static String name(int matrix) {
    return "matrix " + matrix;
  }

  /** The packed form of a matrix, or null. */
  @Nullable Tensor of(Tensor matrix) {
    return packed.get(matrix);
  }

  @Override
  public void close() {
    arena.close();
  }
}
