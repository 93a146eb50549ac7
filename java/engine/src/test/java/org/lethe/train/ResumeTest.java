package org.lethe.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.lethe.model.Refusals.refusedIo;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.Llama;

/** A run that was stopped and goes on ends with the bits of one that was not. */
class ResumeTest {
  @TempDir private Path temporary;
  private Device device;

  @BeforeEach
  void open() {
    device = Device.open("cpu", new Device.Options(1, null));
  }

  @AfterEach
  void everythingIsFreed() {
    assertEquals(0, device.allocatedBytes(), () -> device.allocations().toString());
    device.close();
  }

  private static TinyRun run() {
    var run = new TinyRun();
    run.checkpointEvery = 2;
    run.holdout = 0.2; // 2 of 12 blocks; 10 / 4: 3 steps an epoch
    run.epochs = 3;
    run.learningRate = 0.02;
    run.clip = 1;
    run.weightDecay = 0.1;
    return run;
  }

  @ParameterizedTest
  @CsvSource({"F32, F32, F32", "BF16, F32, F32", "BF16, BF16, BF16"})
  void stoppedAtEveryStep(DType dtype, DType gradientType, DType momentType) throws IOException {
    TinyRun run = run();
    run.dtype = dtype;
    run.gradientType = gradientType;
    run.momentType = momentType;
    Path straight = temporary.resolve("straight");
    TinyRun.Result expected = run.run(device, straight);
    assertEquals(9, expected.outcome().steps());
    assertTrue(expected.outcome().finished());

    Path stopped = temporary.resolve("stopped");
    for (int s = 0; s <= 9; s++) {
      List<Integer> taken = new ArrayList<>();
      run.listener =
          new TrainingListener() {
            @Override
            public void stepped(Step step, int steps, Llama llama) {
              taken.add(step.step());
            }
          };
      run.stop = () -> !taken.isEmpty();
      TinyRun.Result result = run.run(device, stopped);
      if (s < 9) {
        assertEquals(List.of(s + 1), taken);
        assertEquals(s == 8, result.outcome().finished());
        assertEquals(s + 1, result.outcome().step());
        assertEquals(s < 8, Files.isDirectory(stopped.resolve("checkpoint-" + (s + 1))));
      } else {
        assertEquals(List.of(9), taken, "weights that nobody wrote are made again");
        assertEquals(expected.outcome(), result.outcome());
        expected.weights().forEach((name, w) -> assertArrayEquals(w, result.weight(name), name));
      }
    }
    assertEquals(TinyRun.digest(straight), TinyRun.digest(stopped));
    assertEquals(timeless(Metrics.read(straight)), timeless(Metrics.read(stopped)));
  }

  private static List<TrainingListener.Step> timeless(List<TrainingListener.Step> steps) {
    return steps.stream()
        .map(
            s ->
                new TrainingListener.Step(
                    s.phase(), s.step(), s.loss(), s.gradientNorm(), s.learningRate(), 0))
        .toList();
  }

  @Test
  void anotherSeedIsAnotherRun() throws IOException {
    TinyRun run = run();
    run.run(device, temporary.resolve("one"));
    run.run(device, temporary.resolve("same"));
    run.seed = 2;
    run.run(device, temporary.resolve("two"));
    String one = TinyRun.digest(temporary.resolve("one"));
    assertEquals(one, TinyRun.digest(temporary.resolve("same")));
    assertTrue(!one.equals(TinyRun.digest(temporary.resolve("two"))), "order and held-out blocks");
  }

  @Test
  void aStopBeforeTheFirstStepTakesNone() throws IOException {
    TinyRun run = run();
    run.stop = () -> true;
    TinyRun.Result result = run.run(device, temporary);
    assertEquals(0, result.outcome().step());
    assertTrue(!result.outcome().finished());
    result.weights().forEach((name, w) -> assertArrayEquals(run.llama.weight(name), w, name));
  }

  @Test
  void aDamagedCheckpointIsNamed() throws IOException {
    TinyRun run = run();
    run.stop = stopAfter(run, 4);
    run.run(device, temporary);
    run.listener = TrainingListener.NONE;
    run.stop = () -> false;
    Path checkpoint = temporary.resolve("checkpoint-4");
    for (String tensor : List.of("weights", "m", "v")) {
      Path file = checkpoint.resolve(tensor);
      byte[] good = Files.readAllBytes(file);
      byte[] bad = good.clone();
      bad[bad.length / 3] ^= 0x10;
      Files.write(file, bad);
      String message = refusedIo(checkpoint + " is damaged", () -> run.run(device, temporary));
      assertTrue(message.contains("checksum of " + tensor), message);
      assertTrue(message.contains("delete it and run again"), message);
      Files.write(file, java.util.Arrays.copyOf(good, good.length - 1));
      refusedIo(file + " has", () -> run.run(device, temporary));
      Files.delete(file);
      refusedIo(checkpoint + " is damaged", () -> run.run(device, temporary));
      Files.write(file, good);
    }
    Path state = checkpoint.resolve("state.json");
    String good = Files.readString(state);
    Files.writeString(state, good.substring(0, good.length() / 2));
    refusedIo(checkpoint + " is damaged", () -> run.run(device, temporary));
    Files.writeString(state, good.replace("\"step\":4", "\"step\":5"));
    refusedIo("of step 5", () -> run.run(device, temporary));
    Files.delete(state);
    refusedIo(checkpoint + " is damaged", () -> run.run(device, temporary));
    Files.writeString(state, good);
    assertTrue(run.run(device, temporary).outcome().finished(), "mended, it goes on");
  }

  private static java.util.function.BooleanSupplier stopAfter(TinyRun run, int wanted) {
    List<Integer> taken = new ArrayList<>();
    run.listener =
        new TrainingListener() {
          @Override
          public void stepped(Step step, int steps, Llama llama) {
            taken.add(step.step());
          }
        };
    return () -> taken.size() >= wanted;
  }

  /** On a real file system of its own, filled up under the run's feet. */
  @Test
  void aFullDiskLeavesTheCheckpointBefore() throws IOException, InterruptedException {
    TinyRun run = run();
    Path straight = temporary.resolve("straight");
    run.run(device, straight);
    Path disk = Files.createDirectory(temporary.resolve("disk"));
    assumeTrue(mount(disk, "4m"), "needs the right to mount a tmpfs");
    try {
      Path directory = disk.resolve("run");
      Path filler = disk.resolve("filler");
      run.listener =
          new TrainingListener() {
            @Override
            public void stepped(Step step, int steps, Llama llama) {
              if (step.step() == 4) {
                fill(filler);
              }
            }
          };
      String message = refusedIo("could not write", () -> run.run(device, directory));
      assertTrue(message.contains("the one before it stays"), message);
      assertTrue(message.contains("No space left"), message);
      assertTrue(Files.isDirectory(directory.resolve("checkpoint-2")));
      Files.delete(filler);
      run.listener = TrainingListener.NONE;
      assertTrue(run.run(device, directory).outcome().finished());
      assertEquals(TinyRun.digest(straight), TinyRun.digest(directory));
    } finally {
      command("umount", disk.toString());
    }
  }

  @Test
  void aDiskTooSmallIsRefusedBeforeTheFirstStep() throws IOException, InterruptedException {
    Path disk = Files.createDirectory(temporary.resolve("disk"));
    assumeTrue(mount(disk, "256k"), "needs the right to mount a tmpfs");
    try {
      TinyRun run = run();
      refusedIo("this run needs", () -> run.run(device, disk.resolve("run")));
      assertEquals(List.of(), Metrics.read(disk.resolve("run")));
    } finally {
      command("umount", disk.toString());
    }
  }

  private static boolean mount(Path disk, String size) throws IOException, InterruptedException {
    return command("mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", disk.toString());
  }

  private static boolean command(String... words) throws IOException, InterruptedException {
    return new ProcessBuilder(words)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start()
            .waitFor()
        == 0;
  }

  private static void fill(Path filler) {
    try (OutputStream out =
        Files.newOutputStream(filler, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
      byte[] page = new byte[4096];
      while (true) {
        out.write(page);
      }
    } catch (IOException full) {
      if (!String.valueOf(full.getMessage()).contains("No space left")) {
        throw new UncheckedIOException(full);
      }
    }
  }
}
