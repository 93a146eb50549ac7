package org.lethe.model;

import org.jspecify.annotations.Nullable;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.MemoryPlan;

/**
 * Cosine and sine of every rotary angle (Su et al. 2021), computed in double: position p turns pair
 * i by p θ^(-2i/D), with Llama 3's scaling of the frequencies where the configuration has it.
 */
final class RopeTable {
  static final String NAME = "rope table";

  private RopeTable() {}

  /** F32 (positions, D / 2, 2). */
  static MemoryPlan plan(LlamaConfig config, int positions) {
    return new MemoryPlan(NAME).add(NAME, DType.F32, positions, config.headSize() / 2, 2);
  }

  /** The table of that plan, filled. */
  static MemoryPlan.Arena create(Device device, LlamaConfig config, int positions) {
    double[] frequencies = frequencies(config);
    float[] table = new float[positions * frequencies.length * 2];
    int at = 0;
    for (int p = 0; p < positions; p++) {
      for (double frequency : frequencies) {
        table[at++] = (float) Math.cos(p * frequency);
        table[at++] = (float) Math.sin(p * frequency);
      }
    }
    MemoryPlan.Arena arena = plan(config, positions).allocate(device);
    arena.get(NAME).set(table);
    return arena;
  }

  /** Radians per position of each of the D / 2 pairs. */
  static double[] frequencies(LlamaConfig config) {
    int pairs = config.headSize() / 2;
    double[] frequencies = new double[pairs];
    for (int i = 0; i < pairs; i++) {
      double f = Math.pow(config.ropeTheta(), -2.0 * i / config.headSize());
      frequencies[i] = scaled(f, config.ropeScaling());
    }
    return frequencies;
  }

  private static double scaled(double frequency, LlamaConfig.@Nullable RopeScaling s) {
    if (s == null) {
      return frequency;
    }
    double turns = s.originalPositions() * frequency / (2 * Math.PI);
    double share =
        (turns - s.lowFrequencyFactor()) / (s.highFrequencyFactor() - s.lowFrequencyFactor());
    double keep = Math.clamp(share, 0.0, 1.0);
    return frequency * (keep + (1 - keep) / s.factor());
  }
}
