package org.lethe.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The bundle itself, made of the jars of this build, where nothing of the environment is left. */
class BundleRun {
  private static final long LIMIT = 60L << 20;

  @TempDir private static Path temporary;
  private static Path bundle;

  @BeforeAll
  static void make() throws IOException, InterruptedException {
    Path file = temporary.resolve("bundle.tar.gz");
    Map<String, String> environment =
        Map.of("JAVA_HOME", System.getProperty("java.home"), "PATH", System.getenv("PATH"));
    Ran made = Ran.of(environment, Path.of("bundle").toAbsolutePath().toString(), file.toString());
    assertEquals(0, made.code, made.output);
    assertTrue(Files.size(file) <= LIMIT, "bytes: " + Files.size(file));
    Ran unpacked = Ran.of(environment, "tar", "-C", temporary.toString(), "-xzf", file.toString());
    assertEquals(0, unpacked.code, unpacked.output);
    bundle = temporary.resolve("lethe-gpu");
  }

  @Test
  void everyStepIsDoneOnTheEmulator() throws IOException, InterruptedException {
    Path json = temporary.resolve("results.json");
    Ran ran =
        Ran.of(
            Map.of("PATH", "/usr/bin:/bin"),
            bundle.resolve("run-on-gpu").toString(),
            "--device",
            "simt",
            "--small",
            "--json",
            json.toString());
    assertEquals(0, ran.code, ran.output);
    JsonNode results = JsonMapper.shared().readTree(Files.readString(json));
    assertTrue(results.path("failures").isEmpty(), results.toString());
    assertEquals(1, results.path("cut").size(), "no compute-sanitizer, all else: " + results);
    assertEquals("simt", results.path("device").get(0).path("described").path("device").asString());
    assertEquals(Sizes.of(true).suite().size(), results.path("suite").size());
    assertTrue(results.path("suite").get(0).path("trials").intValue() > 10, ran.output);
    assertEquals(KernelTimes.NAMES.size(), results.path("kernels").size());
    for (JsonNode kernel : results.path("kernels")) {
      assertTrue(kernel.path("seconds").doubleValue() > 0, kernel.toString());
    }
    assertEquals(2, results.path("ceilings").size());
    assertTrue(results.path("layer").get(0).path("forward_backward_flops").doubleValue() > 0);
    JsonNode training = results.path("training").get(0);
    assertEquals(2, training.path("layers").intValue());
    assertTrue(
        training.path("last_loss").doubleValue() < training.path("first_loss").doubleValue(),
        training.toString());
    assertTrue(results.path("decoding").get(0).path("tokens_per_second").doubleValue() > 0);
    assertTrue(ran.output.contains("attention_backward, blocks"), ran.output);
  }

  /** No time at all: every step says so, and nothing is measured. */
  @Test
  void whatHasNoTimeIsSaidToBeCut() throws IOException, InterruptedException {
    Path json = temporary.resolve("cut.json");
    Ran ran =
        Ran.of(
            Map.of("PATH", "/usr/bin:/bin"),
            bundle.resolve("run-on-gpu").toString(),
            "--device",
            "simt",
            "--small",
            "--minutes",
            "0.01",
            "--json",
            json.toString());
    JsonNode results = JsonMapper.shared().readTree(Files.readString(json));
    assertTrue(results.path("cut").size() > KernelTimes.NAMES.size(), ran.output);
    assertTrue(results.path("kernels").isEmpty(), ran.output);
  }

  /** A device that is not there is one failure with its reason, and an exit code. */
  @Test
  void aMissingLibraryIsReported() throws IOException, InterruptedException {
    Path json = temporary.resolve("missing.json");
    Ran ran =
        Ran.of(
            Map.of("PATH", "/usr/bin:/bin"),
            bundle.resolve("runtime/bin/java").toString(),
            "-Dlethe.library.simt=/nowhere.so",
            "-cp",
            bundle.resolve("jars") + "/*",
            RunOnGpu.class.getName(),
            "--device",
            "simt",
            "--json",
            json.toString());
    assertEquals(1, ran.code, ran.output);
    JsonNode failures = JsonMapper.shared().readTree(Files.readString(json)).path("failures");
    assertEquals(1, failures.size(), ran.output);
    assertTrue(failures.get(0).path("why").asString().contains("/nowhere.so"), ran.output);
  }

  private record Ran(int code, String output) {
    static Ran of(Map<String, String> environment, String... command)
        throws IOException, InterruptedException {
      Path log = Files.createTempFile("lethe", ".log");
      try {
        var builder =
            new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
        builder.environment().clear();
        builder.environment().putAll(environment);
        Process process = builder.start();
        boolean ended = process.waitFor(5, TimeUnit.MINUTES);
        process.destroyForcibly();
        return new Ran(ended ? process.waitFor() : -1, Files.readString(log));
      } finally {
        Files.delete(log);
      }
    }
  }
}
