package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.kernels.TestedDevices;
import org.lethe.text.TinyModel;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** {@code lethe unlearn} on the tested device and on the cpu. */
@Tag("model")
class TwoDevicesTest {
  @TempDir private Path temporary;
  private Path model = Path.of("");
  private Path text = Path.of("");
  private Path anchors = Path.of("");

  @BeforeEach
  void write() throws IOException {
    model = TinyModel.write(temporary.resolve("model"));
    text = TinyModel.text(temporary.resolve("text"), 20);
    anchors = TinyModel.anchors(temporary.resolve("anchors.json"));
  }

  @Test
  void inFp32TheLabelsAreTheSame() throws IOException {
    Path cpu = unlearn("cpu", "f32");
    Path tested = unlearn(tested(), "f32");
    assertEquals(-1, Files.mismatch(cpu.resolve("labels.jsonl"), tested.resolve("labels.jsonl")));
  }

  /** Where two tokens are nearly as probable, rounding decides. */
  @Test
  void inBf16TheyAreNearlyAllTheSame() throws IOException {
    List<JsonNode> cpu = labels(unlearn("cpu", "bf16"));
    List<JsonNode> tested = labels(unlearn(tested(), "bf16"));
    assertEquals(cpu.size(), tested.size());
    int all = 0;
    int same = 0;
    for (int b = 0; b < cpu.size(); b++) {
      assertEquals(cpu.get(b).path("input_ids"), tested.get(b).path("input_ids"));
      JsonNode a = cpu.get(b).path("labels");
      for (int i = 0; i < a.size(); i++) {
        all++;
        same += a.get(i).equals(tested.get(b).path("labels").get(i)) ? 1 : 0;
      }
    }
    assertTrue(same >= 0.97 * all, same + " of " + all + " labels are the same");
  }

  private static String tested() {
    String tested = TestedDevices.names().getFirst();
    assumeFalse(TestedDevices.isCpu(tested), "the cpu is what others are compared with");
    return tested;
  }

  private static List<JsonNode> labels(Path run) throws IOException {
    return Files.readAllLines(run.resolve("labels.jsonl")).stream()
        .map(line -> new JsonMapper().readTree(line))
        .toList();
  }

  /** The folder of the run. */
  private Path unlearn(String device, String dtype) {
    Path out = temporary.resolve(device);
    String threads = device.equals("cpu") ? " --threads 1" : "";
    Ran.lethe(
            "unlearn --device %s --dtype %s --model %s --text %s --anchors %s --out %s --block 64"
                + " --batch 4 --accumulate 2 --seed 3 --reinforce-epochs 4 --reinforce-lr 1e-3"
                + " --finetune-epochs 2 --finetune-lr 1e-3 --finetune-holdout 0.1 --alpha 5"
                + threads,
            device,
            dtype,
            model,
            text,
            anchors,
            out)
        .done();
    return out;
  }
}
