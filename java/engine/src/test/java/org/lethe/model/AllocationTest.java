package org.lethe.model;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Tensor;
import org.lethe.kernels.TestedDevices;

/**
 * Once sizes are met, passes leave the Java heap alone: a service's collector has nothing to do.
 */
class AllocationTest {
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
  private static final int LENGTH = 64;

  @Test
  void passesAllocateNothing() throws IOException {
    TinyLlama tiny = TinyLlama.tied();
    int[] tokens = tiny.tokens("tokens", LENGTH);
    int[] targets = tiny.tokens("targets", LENGTH);
    List<int[]> next = List.of(new int[] {1});
    try (Device device = TestedDevices.open("cpu", 1);
        LlamaWeights weights = tiny.load(device, DType.BF16);
        Llama llama = new Llama(weights);
        KeyValueCache cache = new KeyValueCache(weights, LENGTH);
        Tensor flat =
            device.allocate("gradients", DType.F32, weights.parameters().flat().elements())) {
      device.kernels().fill(flat, 0);
      var gradients = new LlamaParameters(tiny.config(), flat);
      assertEquals(0, leastAllocated(() -> llama.train(tokens, targets, 1, 1, gradients, false)));
      assertEquals(0, leastAllocated(() -> llama.loss(tokens, targets, 1)));
      assertEquals(0, leastAllocated(() -> llama.decode(next, cache)));
    }
  }

  /**
   * Bytes that a call takes at best: Java's own method handles are still being compiled in some.
   */
  private static long leastAllocated(Runnable call) {
    long least = Long.MAX_VALUE;
    for (int i = 0; i < LENGTH; i++) {
      long before = THREADS.getCurrentThreadAllocatedBytes();
      call.run();
      least = Math.min(least, THREADS.getCurrentThreadAllocatedBytes() - before);
    }
    return least;
  }
}
