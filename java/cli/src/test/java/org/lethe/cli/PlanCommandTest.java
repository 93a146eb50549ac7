package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.text.TinyModel;
import tools.jackson.databind.JsonNode;

/** {@code lethe plan}, against numbers worked out by hand and against itself. */
class PlanCommandTest {
  private static final String LLAMA2 = "plan --model llama2-7b --gpu h100-80gb --json ";

  @TempDir private Path temporary;

  @Test
  void llama2OnAnH100() {
    JsonNode plan =
        Ran.lethe(LLAMA2 + "--phase finetune --gradient-dtype bf16 --moment-dtype bf16").json();
    assertTrue(
        plan.path("title").get(0).asString().startsWith("llama2-7b, 6,738,415,616 parameters"));
    assertTrue(plan.path("fits").booleanValue());
    // A token costs three times 2 (parameters - embedding) and the causal half of attention.
    double products = 6.0 * (6_738_415_616.0 - 32000 * 4096.0 - 65 * 4096.0);
    double attention = 32 * 7 * 2.0 * 4096 * 513 / 2;
    double seconds = 65536 * (products + attention) / 989.4e12;
    double utilisation = seconds / plan.path("seconds").path("datasheet").doubleValue();
    assertEquals(
        utilisation, plan.path("model_flop_utilisation").path("datasheet").doubleValue(), 1e-9);
    assertEquals(
        65536 / plan.path("seconds").path("datasheet").doubleValue(),
        plan.path("tokens_per_second").path("datasheet").doubleValue(),
        1e-6);
    assertFalse(plan.path("flops_per_second").has("measured"), "nobody measured an H100 for us");
  }

  @Test
  void memoryIsWhatItsPartsAre() {
    JsonNode plan = Ran.lethe(LLAMA2 + "--phase reinforce").json();
    long n = 6_738_415_616L;
    assertEquals(4 * n, bytes(plan, "weights"));
    assertEquals(12 * n + 64, bytes(plan, "training state"));
    assertFalse(plan.path("fits").booleanValue());
    assertEquals(0, plan.path("largest_batch").intValue());
    long all = 0;
    for (JsonNode allocation : plan.path("memory")) {
      all += allocation.path("bytes").longValue();
    }
    assertEquals(all, plan.path("bytes").longValue());
    String read = Ran.lethe("plan --model llama2-7b --gpu h100-80gb").done().out();
    assertTrue(read.contains("does not fit, by "), read);
    assertTrue(read.contains("not even a batch of 1 fits: it lacks "), read);
  }

  private static long bytes(JsonNode plan, String name) {
    for (JsonNode allocation : plan.path("memory")) {
      if (allocation.path("name").asString().equals(name)) {
        return allocation.path("bytes").longValue();
      }
    }
    throw new AssertionError(name + " is not in " + plan);
  }

  @Test
  void theLargestBatchFitsAndTheNextDoesNot() {
    String thrifty = LLAMA2 + "--gradient-dtype bf16 --moment-dtype bf16 --batch ";
    int largest = Ran.lethe(thrifty + "1").json().path("largest_batch").intValue();
    assertTrue(largest > 1, "largest " + largest);
    assertTrue(Ran.lethe(thrifty + largest).json().path("fits").booleanValue());
    assertFalse(Ran.lethe(thrifty + (largest + 1)).json().path("fits").booleanValue());
  }

  @Test
  void recomputationTakesLessMemoryAndIsNoWorkOfTheModel() {
    JsonNode kept = Ran.lethe(LLAMA2 + "--no-recompute").json();
    JsonNode again = Ran.lethe(LLAMA2 + "--recompute").json();
    assertTrue(bytes(again, "activations") < bytes(kept, "activations") / 4);
    double ratio = utilisation(kept) / utilisation(again);
    assertTrue(ratio > 1.2 && ratio < 4 / 3.0, "utilisation falls by " + ratio);
  }

  private static double utilisation(JsonNode plan) {
    return plan.path("model_flop_utilisation").path("datasheet").doubleValue();
  }

  @Test
  void labelsNeedNoGradients() {
    JsonNode plan = Ran.lethe(LLAMA2 + "--phase label").json();
    assertTrue(plan.path("fits").booleanValue());
    assertEquals(512, plan.path("tokens").intValue());
    assertTrue(plan.path("paper_hours").path("3100000").path("in_all").has("datasheet"));
  }

  @Test
  void aGpuOfOnesOwnIsAFile() throws IOException {
    Path mine =
        Files.writeString(
            temporary.resolve("mine.json"),
            """
            {"name": "Mine", "usable_bytes": 48e9,
             "datasheet": {"bf16_flops": 2e14, "f32_flops": 4e13, "bytes_per_second": 1e12},
             "measured": {"bf16_flops": 1e14, "f32_flops": 2e13, "bytes_per_second": 5e11,
                          "source": "my stopwatch"}}
            """);
    JsonNode plan = Ran.lethe("plan --model tinyllama-1.1b --json --gpu %s", mine).json();
    assertEquals("Mine", plan.path("machine").asString());
    assertEquals(
        2 * plan.path("seconds").path("datasheet").doubleValue(),
        plan.path("seconds").path("measured").doubleValue(),
        1e-9);
    Files.writeString(mine, "{\"datasheet\": {\"bf16_flops\": \"fast\"}}");
    Ran.lethe("plan --model llama2-7b --gpu %s", mine)
        .refused(Main.USAGE, "'bf16_flops' is \"fast\", must be a number above 0");
  }

  @Test
  void givenRatesStandBesideTheDatasheets() {
    JsonNode plan = Ran.lethe(LLAMA2 + "--matrix-rate 700 --memory-rate 3000").json();
    assertEquals(7e14, plan.path("flops_per_second").path("given").doubleValue());
    assertTrue(
        plan.path("seconds").path("given").doubleValue()
            > plan.path("seconds").path("datasheet").doubleValue());
  }

  @Test
  void thisMachineIsMeasuredOrGiven() throws IOException {
    Path model = TinyModel.write(temporary.resolve("model"));
    JsonNode measured = Ran.computing("plan --model %s --json", model).json();
    assertTrue(measured.path("flops_per_second").path("measured").doubleValue() > 1e9);
    Files.delete(model.resolve("model.safetensors")); // config.json is enough
    JsonNode given =
        Ran.computing("plan --model %s --json --matrix-rate 0.1 --memory-rate 10", model).json();
    assertFalse(given.path("flops_per_second").has("measured"));
    assertEquals(measured.path("memory"), given.path("memory"));
  }

  @Test
  void whatCannotBePlannedIsSaid() {
    Ran.lethe("plan --model llama9 --gpu h100-80gb").refused(Main.USAGE, "llama2-7b, llama3-8b");
    Ran.lethe("plan --model llama2-7b --gpu abacus").refused(Main.USAGE, "h100-80gb, a100-80gb");
    Ran.lethe(LLAMA2 + "--head-rows 100").refused(Main.USAGE, "a multiple of 64");
    Ran.lethe(LLAMA2 + "--batch 0").refused(Main.USAGE, "batch is 0");
    Ran.lethe(LLAMA2 + "--block 1").refused(Main.USAGE, "block is 1");
    Ran.lethe(LLAMA2 + "--matrix-rate -1").refused(Main.USAGE, "must be above 0");
  }
}
