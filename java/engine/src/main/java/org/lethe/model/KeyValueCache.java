package org.lethe.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.lethe.kernels.DType;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;

/**
 * The keys and values of the tokens decoded so far of B sequences, layer by layer: (B, Hkv,
 * capacity, D) each.
 */
public final class KeyValueCache implements AutoCloseable {
  private final MemoryPlan.Arena arena;
  private final List<Tensor> keys = new ArrayList<>();
  private final List<Tensor> values = new ArrayList<>();
  private final int capacity;
  final int[] lengths;

  /** An empty cache with room for {@code capacity} tokens of one sequence. */
  public KeyValueCache(LlamaWeights weights, int capacity) {
    this(weights, 1, capacity);
  }

  /** An empty cache with room for {@code capacity} tokens of each of {@code sequences}. */
  public KeyValueCache(LlamaWeights weights, int sequences, int capacity) {
    if (sequences < 1 || capacity < 1) {
      throw new IllegalArgumentException(
          "a cache for %d tokens of %d sequences holds nothing".formatted(capacity, sequences));
    }
    LlamaConfig config = weights.config();
    this.capacity = capacity;
    this.lengths = new int[sequences];
    arena = plan(config, weights.dtype(), sequences, capacity).allocate(weights.device());
    for (int l = 0; l < config.layers(); l++) {
      keys.add(arena.get("keys." + l));
      values.add(arena.get("values." + l));
    }
  }

  /** What such a cache takes, by name. */
  public static MemoryPlan plan(LlamaConfig config, DType dtype, int sequences, int capacity) {
    var plan = new MemoryPlan("key/value cache");
    int room = Llama.mostPadded(capacity); // a prompt comes with its padding
    for (int l = 0; l < config.layers(); l++) {
      plan.add("keys." + l, dtype, sequences, config.kvHeads(), room, config.headSize())
          .add("values." + l, dtype, sequences, config.kvHeads(), room, config.headSize());
    }
    return plan;
  }

  /** Sequences it holds tokens of. */
  public int sequences() {
    return lengths.length;
  }

  /** Tokens it holds of a sequence. */
  public int length(int sequence) {
    return lengths[sequence];
  }

  /** Tokens of a sequence that it has room for. */
  public int capacity() {
    return capacity;
  }

  boolean filled() {
    return lengths[0] > 0; // sequences are filled together
  }

  /** Forgets all tokens. */
  public void clear() {
    Arrays.fill(lengths, 0);
  }

  Tensor keys(int layer) {
    return keys.get(layer);
  }

  Tensor values(int layer) {
    return values.get(layer);
  }

  @Override
  public void close() {
    arena.close();
  }
}
