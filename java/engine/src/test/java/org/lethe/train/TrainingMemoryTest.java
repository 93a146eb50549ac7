package org.lethe.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.ToLongFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.kernels.Kernels;
import org.lethe.kernels.MemoryPlan;
import org.lethe.kernels.TestedDevices;
import org.lethe.model.LlamaConfig;
import org.lethe.model.PlannedMemory;
import org.lethe.model.TinyLlama;

/**
 * A run allocates what was planned, and less of it where layers are recomputed, to the same bits.
 */
@Tag("model")
class TrainingMemoryTest {
  /** Blocks of two paddings, the last step one block short. */
  private static final int LENGTH = 80;

  @TempDir private Path temporary;

  /** A device, a model and a change to a run's options. */
  record Case(String device, String name, TinyLlama llama, Consumer<TinyRun> options) {
    TinyRun run(boolean recompute) {
      var run = new TinyRun();
      run.llama = llama;
      run.blocks = TinyRun.blocks(llama, 7, LENGTH);
      run.epochs = 1;
      run.recompute = recompute;
      options.accept(run);
      return run;
    }

    @Override
    public String toString() {
      return device + ", " + name;
    }
  }

  static Stream<Case> cases() {
    TinyLlama tied = TinyLlama.tied();
    TinyLlama untied = TinyLlama.untied();
    var everyHeadItsOwn =
        new TinyLlama(new LlamaConfig(97, 24, 40, 4, 3, 3, 8, 128, 1e-5, 1e4, null, false, 1, 2));
    return TestedDevices.names().stream()
        .flatMap(
            device ->
                Stream.of(
                    new Case(device, "tied, grouped heads, F32", tied, run -> {}),
                    new Case(device, "untied, BF16", untied, run -> run.dtype = DType.BF16),
                    new Case(
                        device,
                        "untied, BF16 with its gradients and moments",
                        untied,
                        run -> {
                          run.dtype = DType.BF16;
                          run.gradientType = DType.BF16;
                          run.momentType = DType.BF16;
                        }),
                    new Case(
                        device,
                        "tied, BF16 moments, held-out blocks, batch 3, head in two pieces",
                        tied,
                        run -> {
                          run.dtype = DType.BF16;
                          run.momentType = DType.BF16;
                          run.holdout = 0.2;
                          run.batch = 3;
                          run.headRows = 128;
                        }),
                    new Case(
                        device, "4 layers, every head its own, F32", everyHeadItsOwn, run -> {})));
  }

  private static ToLongFunction<Kernels.Heads> workspace(Device device, DType dtype) {
    return heads -> device.kernels().attentionBackwardWorkspace(dtype, heads);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void aRunAllocatesWhatWasPlanned(Case c) throws IOException {
    for (boolean recompute : new boolean[] {false, true}) {
      TinyRun run = c.run(recompute);
      try (Device device = TestedDevices.open(c.device, 1)) {
        run.run(device, temporary.resolve("recompute " + recompute));
        List<MemoryPlan> plans =
            Trainer.plan(run.llama.config(), run.options(), LENGTH, workspace(device, run.dtype));
        PlannedMemory.isThePeak(plans, device);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void recomputedLayersGiveTheSameBitsInLessMemory(Case c) throws IOException {
    var kept = new ArrayList<TrainingListener.Step>();
    var recomputed = new ArrayList<TrainingListener.Step>();
    try (Device device = TestedDevices.open(c.device, 1)) {
      TinyRun.Result a = run(c, false, device, kept);
      TinyRun.Result b = run(c, true, device, recomputed);
      assertEquals(kept.size(), recomputed.size());
      for (int s = 0; s < kept.size(); s++) {
        assertEquals(kept.get(s).loss(), recomputed.get(s).loss(), "loss of step " + s);
        assertEquals(kept.get(s).gradientNorm(), recomputed.get(s).gradientNorm(), "norm of " + s);
      }
      a.weights().forEach((name, values) -> assertArrayEquals(values, b.weight(name), name));
      assertTrue(bytes(c, true, device) < bytes(c, false, device));
    }
  }

  private TinyRun.Result run(
      Case c, boolean recompute, Device device, List<TrainingListener.Step> steps)
      throws IOException {
    TinyRun run = c.run(recompute);
    run.listener =
        new TrainingListener() {
          @Override
          public void stepped(Step step, int of, org.lethe.model.Llama llama) {
            steps.add(step);
          }
        };
    return run.run(device, temporary.resolve("recompute " + recompute));
  }

  private static long bytes(Case c, boolean recompute, Device device) {
    TinyRun run = c.run(recompute);
    return Trainer.plan(run.llama.config(), run.options(), LENGTH, workspace(device, run.dtype))
        .stream()
        .mapToLong(MemoryPlan::bytes)
        .sum();
  }
}
