package org.lethe.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.kernels.Device;
import org.lethe.model.Llama;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** metrics.jsonl: a line a step, whatever happens to the run. */
class MetricsTest {
  @TempDir private Path temporary;

  private static TrainingListener.Step step(int step) {
    return new TrainingListener.Step("teach", step, 1.0 / step, 3, 1e-6 / 7, 123.4);
  }

  @Test
  void aLineAStepWithTheseKeys() throws IOException {
    List<TrainingListener.Step> heard = new ArrayList<>();
    var run = new TinyRun();
    run.listener =
        new TrainingListener() {
          @Override
          public void stepped(Step step, int steps, Llama llama) {
            heard.add(step);
          }
        };
    try (Device device = Device.open("cpu")) {
      run.run(device, temporary);
    }
    assertEquals(heard, Metrics.read(temporary), "in full precision");
    assertEquals(6, heard.size());
    List<String> lines = Files.readAllLines(temporary.resolve("metrics.jsonl"));
    for (int s = 0; s < lines.size(); s++) {
      JsonNode line = new JsonMapper().readTree(lines.get(s));
      assertEquals(
          List.of("phase", "step", "loss", "grad_norm", "lr", "tokens_per_second"),
          List.copyOf(line.propertyNames()));
      assertEquals("teach", line.path("phase").asString());
      assertEquals(s + 1, line.path("step").asInt());
      assertTrue(line.path("loss").asDouble() > 0 && line.path("grad_norm").asDouble() > 0);
      assertTrue(line.path("tokens_per_second").asDouble() > 0);
    }
  }

  @Test
  void linesAfterTheCheckpointGo() throws IOException {
    write(1, 5);
    new Metrics(temporary, 3).add(step(4));
    assertEquals(List.of(step(1), step(2), step(3), step(4)), Metrics.read(temporary));
    new Metrics(temporary, 0).add(step(1));
    assertEquals(List.of(step(1)), Metrics.read(temporary));
  }

  @Test
  void aTornLineGoes() throws IOException {
    String whole = Files.readString(write(1, 4));
    for (int cut = 1; cut < 90; cut += 8) {
      Files.writeString(temporary.resolve(Metrics.FILE), whole.substring(0, whole.length() - cut));
      assertEquals(
          List.of(step(1), step(2), step(3)),
          Metrics.read(temporary).subList(0, 3),
          "read while it is torn");
      new Metrics(temporary, 3).add(step(4));
      assertEquals(whole, Files.readString(temporary.resolve(Metrics.FILE)));
    }
    Files.write(
        temporary.resolve(Metrics.FILE), new byte[] {0, 0, (byte) 0xff}, StandardOpenOption.APPEND);
    assertEquals(4, Metrics.read(temporary).size(), "what a power cut may leave");
    new Metrics(temporary, 4).add(step(5));
    assertEquals(5, Metrics.read(temporary).size());
  }

  @Test
  void noFileIsNoStep() throws IOException {
    assertEquals(List.of(), Metrics.read(temporary));
  }

  private Path write(int from, int to) throws IOException {
    var metrics = new Metrics(temporary, 0);
    for (int s = from; s <= to; s++) {
      metrics.add(step(s));
    }
    return temporary.resolve(Metrics.FILE);
  }
}
