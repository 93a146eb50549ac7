package org.lethe.model;

import java.util.ArrayList;
import java.util.List;
import org.lethe.kernels.DType;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.Tensor;

/** The keys and values of the tokens decoded so far, layer by layer: (1, Hkv, capacity, D) each. */
public final class KeyValueCache implements AutoCloseable {
  private final MemoryPlan.Arena arena;
  private final List<Tensor> keys = new ArrayList<>();
  private final List<Tensor> values = new ArrayList<>();
  private final int capacity;
  int length;

  /** An empty cache with room for {@code capacity} tokens. */
  public KeyValueCache(LlamaWeights weights, int capacity) {
    if (capacity < 1) {
      throw new IllegalArgumentException("a cache for " + capacity + " tokens holds nothing");
    }
    LlamaConfig config = weights.config();
    this.capacity = capacity;
    arena = plan(config, weights.dtype(), capacity).allocate(weights.device());
    for (int l = 0; l < config.layers(); l++) {
      keys.add(arena.get("keys." + l));
      values.add(arena.get("values." + l));
    }
  }

  /** What such a cache takes, by name. */
  public static MemoryPlan plan(LlamaConfig config, DType dtype, int capacity) {
    var plan = new MemoryPlan("key/value cache");
    int room = Llama.padded(capacity); // a prompt comes with its padding
    for (int l = 0; l < config.layers(); l++) {
      plan.add("keys." + l, dtype, 1, config.kvHeads(), room, config.headSize())
          .add("values." + l, dtype, 1, config.kvHeads(), room, config.headSize());
    }
    return plan;
  }

  /** Tokens it holds. */
  public int length() {
    return length;
  }

  /** Tokens it has room for. */
  public int capacity() {
    return capacity;
  }

  /** Forgets all tokens. */
  public void clear() {
    length = 0;
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
