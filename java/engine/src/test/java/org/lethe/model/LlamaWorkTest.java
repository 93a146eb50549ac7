package org.lethe.model;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;

/** What passes are said to compute, against the matrix products that they call. */
class LlamaWorkTest {
  private static final int BLOCKS = 2;
  private static final int LENGTH = 40;

  @TempDir Path temporary;

  @ParameterizedTest
  @ValueSource(strings = {"tied", "untied"})
  void productsOfAPassAreThoseItCalls(String name) throws IOException {
    TinyLlama tiny = TinyLlama.named(name);
    LlamaConfig config = tiny.config();
    int padded = Llama.padded(BLOCKS, LENGTH);
    int[] tokens = tiny.tokens("tokens", BLOCKS * padded);
    try (Device device = Device.open("cpu");
        LlamaWeights weights = tiny.load(device, DType.F32);
        Llama llama = new Llama(weights);
        var gradient = device.allocate("gradients", DType.F32, LlamaParameters.elements(config))) {
      var gradients = new LlamaParameters(config, gradient);
      assertEquals(
          products(
              LlamaWork.training(
                  config, DType.F32, DType.F32, BLOCKS, 3, LENGTH, Llama.Memory.DEFAULT)),
          called(
              () -> {
                llama.train(tokens, tokens, BLOCKS, 1, gradients, false);
                llama.train(tokens, tokens, BLOCKS, 1, gradients, true);
                llama.train(tokens, tokens, BLOCKS, 1, gradients, true);
              }));
      assertEquals(
          products(LlamaWork.losses(config, DType.F32, BLOCKS, LENGTH)),
          called(() -> llama.loss(tokens, tokens, BLOCKS)));
      try (var cache = new KeyValueCache(weights, 4)) {
        llama.decode(List.of(new int[] {1, 2, 3}), cache);
        double attention = 3 * 4.0 * config.layers() * config.queryWidth();
        assertEquals(
            LlamaWork.decoding(config, DType.F32, 3).flops() - attention,
            called(() -> llama.decode(List.of(new int[] {4}), cache)));
      }
    }
  }

  @Test
  void recomputedLayersAreMoreWorkButNoneOfTheModels() throws IOException {
    TinyLlama tiny = TinyLlama.tied();
    LlamaConfig config = tiny.config();
    var memory = new Llama.Memory(true, 64);
    int[] tokens = tiny.tokens("tokens", Llama.padded(BLOCKS, LENGTH) * BLOCKS);
    try (Device device = Device.open("cpu");
        LlamaWeights weights = tiny.load(device, DType.BF16);
        Llama llama = new Llama(weights, memory);
        var gradient = device.allocate("gradients", DType.F32, LlamaParameters.elements(config))) {
      var gradients = new LlamaParameters(config, gradient);
      List<Operation> work =
          LlamaWork.training(config, DType.BF16, DType.F32, BLOCKS, 1, LENGTH, memory);
      assertEquals(
          products(work), called(() -> llama.train(tokens, tokens, BLOCKS, 1, gradients, false)));
      assertEquals(
          LlamaWork.flops(
              LlamaWork.training(
                  config, DType.BF16, DType.F32, BLOCKS, 1, LENGTH, Llama.Memory.DEFAULT)),
          LlamaWork.flops(work.stream().filter(each -> !each.again()).toList()));
    }
  }

  /** Floating-point operations but attention's. */
  private static double products(List<Operation> work) {
    return LlamaWork.flops(
        work.stream().filter(each -> !each.name().endsWith("attention")).toList());
  }

  /** Floating-point operations of the matrix products that {@code work} calls. */
  private double called(Runnable work) throws IOException {
    Path file = temporary.resolve("recording.jfr");
    try (var recording = new Recording()) {
      recording.enable("org.lethe.KernelCall");
      recording.start();
      work.run();
      recording.stop();
      recording.dump(file);
    }
    double sum = 0;
    for (RecordedEvent event : RecordingFile.readAllEvents(file)) {
      if (event.getEventType().getName().equals("org.lethe.KernelCall")
          && event.getString("operation").equals("matmul")) {
        double[] numbers =
            Arrays.stream(event.getString("numbers").split(" ", -1))
                .mapToDouble(Double::parseDouble)
                .toArray();
        int last = numbers.length - 1; // M, N, K
        sum += 2 * numbers[last - 2] * numbers[last - 1] * numbers[last];
      }
    }
    return sum;
  }
}
