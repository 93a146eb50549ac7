package org.lethe.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.lethe.model.Refusals.refusedIo;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A real process, killed by SIGKILL again and again, ends with the bits of one left alone. */
class KillTest {
  private static final int KILLS = 8;

  @TempDir private Path temporary;
  private final Random random = new Random(1);

  /** The moments to kill at; before them, each but the first lets a checkpoint be finished. */
  private enum Moment {
    WHILE_STARTING,
    SOME_TIME_AFTER_A_CHECKPOINT,
    WHILE_WRITING_A_CHECKPOINT,
    AFTER_A_STEP_THAT_ENDS_WITH_A_CHECKPOINT;

    static Moment of(int kill) {
      return kill == 0 ? WHILE_STARTING : values()[1 + (kill - 1) % 3];
    }
  }

  @Test
  @Timeout(120)
  void killedAtAnyMoment() throws IOException, InterruptedException {
    Path straight = temporary.resolve("straight");
    int steps = KilledRun.train(KilledRun.run(), straight).outcome().steps();
    Path directory = temporary.resolve("killed");
    int checkpointed = 0;
    for (int kill = 0; kill < KILLS; kill++) {
      try (Life life = new Life(directory)) {
        checkpointed = Math.max(checkpointed, life.liveUntil(Moment.of(kill), checkpointed));
        assertTrue(life.process.isAlive(), () -> "it ended by itself: " + life.errors());
      }
    }
    assertTrue(checkpointed >= 2 * (KILLS - 1), "steps got lost: at " + checkpointed);
    assertTrue(checkpointed < steps, "it had finished before it was killed for the last time");
    try (Life life = new Life(directory)) {
      assertTrue(life.await("started") >= checkpointed, "an announced checkpoint was lost");
      refusedIo("another run is working in", () -> RunFolder.open(directory, TinyRun.RECORD));
      life.drain();
      assertEquals(0, life.process.waitFor(), life::errors);
    }
    assertEquals(TinyRun.digest(straight), TinyRun.digest(directory));
    assertEquals(TinyRun.names(straight), TinyRun.names(directory), "nothing is left over");
    assertEquals(losses(straight), losses(directory));
  }

  private static List<String> losses(Path directory) throws IOException {
    return Metrics.read(directory).stream()
        .map(s -> s.step() + ": " + s.loss() + ", " + s.gradientNorm())
        .toList();
  }

  /** A second try in the owner's process must not loosen its lock for others. */
  @Test
  @Timeout(60)
  void aRefusedRunLetsNoOtherIn() throws IOException, InterruptedException {
    Path directory = temporary.resolve("run");
    try (RunFolder folder = RunFolder.open(directory, TinyRun.RECORD)) {
      refusedIo("another run is working in", () -> RunFolder.open(directory, TinyRun.RECORD));
      try (Life life = new Life(directory)) {
        life.drain();
        assertEquals(1, life.process.waitFor());
        assertTrue(life.errors().contains("another run is working in"), life::errors);
      }
      assertTrue(folder.isFresh());
    }
  }

  /** One life of the process. */
  private final class Life implements AutoCloseable {
    final Process process;
    private final Path directory;
    private final Path errorFile = temporary.resolve("errors");
    private final BufferedReader events;

    Life(Path directory) throws IOException {
      this.directory = directory;
      process =
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "--enable-native-access=ALL-UNNAMED",
                  "--sun-misc-unsafe-memory-access=allow",
                  "-Xmx256m",
                  "-XX:+UseSerialGC",
                  "-XX:TieredStopAtLevel=1",
                  "-cp",
                  System.getProperty("java.class.path"),
                  KilledRun.class.getName(),
                  directory.toString())
              .redirectError(errorFile.toFile())
              .start();
      events =
          new BufferedReader(
              new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
    }

    /** Returns the last checkpoint that was announced before the moment. */
    int liveUntil(Moment moment, int checkpointed) throws IOException, InterruptedException {
      if (moment == Moment.WHILE_STARTING) {
        Thread.sleep(random.nextInt(300));
        return 0;
      }
      int started = await("started");
      assertTrue(started >= checkpointed, "an announced checkpoint was lost: at " + started);
      int reached = await("checkpointed");
      switch (moment) {
        case SOME_TIME_AFTER_A_CHECKPOINT -> Thread.sleep(0, random.nextInt(1_000_000));
        case WHILE_WRITING_A_CHECKPOINT -> {
          while (process.isAlive() && !isWriting()) {
            Thread.onSpinWait();
          }
        }
        case AFTER_A_STEP_THAT_ENDS_WITH_A_CHECKPOINT -> {
          await("stepped");
          await("stepped");
        }
        default -> throw new AssertionError(moment);
      }
      return reached;
    }

    private boolean isWriting() throws IOException {
      return TinyRun.names(directory).stream().anyMatch(n -> n.matches("checkpoint-.*\\.tmp"));
    }

    /** Waits for an event; returns its step. */
    int await(String event) throws IOException {
      for (String line = events.readLine(); line != null; line = events.readLine()) {
        if (line.startsWith(event + " ")) {
          return Integer.parseInt(line.substring(event.length() + 1));
        }
      }
      throw new AssertionError("it ended before it had " + event + ": " + errors());
    }

    void drain() throws IOException {
      while (events.readLine() != null) {}
    }

    String errors() {
      try {
        return Files.readString(errorFile);
      } catch (IOException e) {
        return e.toString();
      }
    }

    /** Kills it. */
    @Override
    public void close() throws IOException {
      process.destroyForcibly().onExit().join();
      events.close();
    }
  }
}
