package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.lethe.kernels.Device;
import org.lethe.text.TinyModel;
import picocli.CommandLine;
import tools.jackson.databind.JsonNode;

/** What all commands promise alike. */
class UsageTest {
  @TempDir private Path temporary;

  static Stream<String> commands() {
    return Main.commands("").getSubcommands().entrySet().stream()
        .filter(e -> !e.getValue().getCommandSpec().usageMessage().hidden())
        .map(e -> e.getKey());
  }

  @ParameterizedTest
  @MethodSource("commands")
  void helpHasAnExample(String command) {
    Ran ran = Ran.lethe("%s --help", command).done();
    assertEquals("", ran.err());
    assertTrue(ran.out().contains("Example"), ran.out());
    assertTrue(ran.out().contains("\n  lethe " + command), ran.out());
    assertFalse(ran.out().contains("${"), ran.out());
  }

  /** Every option of an example is one of the command's. */
  @ParameterizedTest
  @MethodSource("commands")
  void theExampleIsTrue(String command) {
    CommandLine.Model.CommandSpec spec =
        Objects.requireNonNull(Main.commands("").getSubcommands().get(command)).getCommandSpec();
    String example = String.join(" ", spec.usageMessage().footer());
    Stream.of(example.split("[^\\w-]+"))
        .filter(word -> word.startsWith("--"))
        .forEach(option -> assertTrue(spec.findOption(option) != null, option));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "demo",
        "unlearn",
        "reinforce",
        "label",
        "finetune",
        "eval",
        "score",
        "generate",
        "verify",
        "doctor"
      })
  void whatComputesTakesADevice(String command) {
    String help = Ran.lethe("%s --help", command).done().out();
    for (String option : new String[] {"--device", "--threads", "--tier"}) {
      assertTrue(help.contains(option), command + " has no " + option);
    }
  }

  @Test
  void exitCodesAreDocumented() {
    String help = Ran.lethe("--help").done().out();
    for (int code : new int[] {0, Main.FAILED, Main.USAGE, Main.DIVERGED, Main.INTERRUPTED}) {
      assertTrue(help.contains("\n  " + code + "  "), help);
    }
  }

  @Test
  void aWrongCommandLineIsSaidInALine() {
    Ran.lethe("").refused(Main.USAGE, "which command?");
    Ran.lethe("forget").refused(Main.USAGE, "forget");
    Ran.lethe("score").refused(Main.USAGE, "--model");
    Ran.lethe("score --modle x").refused(Main.USAGE, "(see lethe score --help)");
    Ran.lethe("generate --model m --prompt p --max-tokens many").refused(Main.USAGE, "many");
    Ran.lethe("export --model m --to pickle --out o").refused(Main.USAGE, "pickle");
  }

  @Test
  void anUnknownDeviceListsThoseThatExist() {
    Path model = TinyModel.write(temporary.resolve("model"));
    String said =
        Ran.lethe("score --model %s --tokens 1 --device abacus", model)
            .refused(Main.USAGE, "there is no device 'abacus'");
    Device.names().forEach(name -> assertTrue(said.contains(name), said));
    Ran.lethe("score --model %s --tokens 1 --tier mmx", model).refused(Main.USAGE, "mmx");
    Ran.lethe("score --model %s --tokens 1 --threads -1", model).refused(Main.USAGE, "-1");
  }

  @Test
  void whatIsNoModelIsSaid() throws IOException {
    Path missing = temporary.resolve("missing");
    refusedModel(missing, missing + ": does not exist");
    Path empty = Files.createDirectory(temporary.resolve("empty"));
    refusedModel(empty, "config.json: does not exist");
    Path model = TinyModel.write(temporary.resolve("model"));
    refusedModel(model.resolve("model.safetensors"), "give the folder that it lies in");
    refusedModel(model.resolve("config.json"), "GGUF");
    Files.delete(model.resolve("tokenizer.json"));
    refusedModel(model, "tokenizer.json: does not exist");
  }

  private void refusedModel(Path model, String why) throws IOException {
    Path text = Files.writeString(temporary.resolve("text"), "Call me Ishmael. ".repeat(20));
    Path anchors = TinyModel.anchors(temporary.resolve("anchors.json"));
    Path prompts =
        Files.writeString(
            temporary.resolve("prompts.json"),
            "[{\"prompt\": \"a\", \"answer\": \"b\", \"kind\": \"probability\"}]");
    Path out = temporary.resolve("out");
    Ran.lethe("score --model %s --text %s", model, text).refused(Main.FAILED, why);
    Ran.lethe("generate --model %s --prompt a --max-tokens 1", model).refused(Main.FAILED, why);
    Ran.lethe("reinforce --model %s --text %s --out %s", model, text, out)
        .refused(Main.FAILED, why);
    Ran.lethe("unlearn --model %s --text %s --anchors %s --out %s", model, text, anchors, out)
        .refused(Main.FAILED, why);
    Ran.lethe(
            "label --model %s --reinforced %s --text %s --anchors %s --out %s",
            model, model, text, anchors, out)
        .refused(Main.FAILED, why);
    Ran.lethe("export --model %s --to gguf --out %s", model, out).refused(Main.FAILED, why);
    Ran ran = Ran.lethe("eval --model %s --prompts %s --anchors %s", model, prompts, anchors);
    assertEquals(Main.FAILED, ran.code());
    assertTrue(ran.err().contains(why), ran.err());
  }

  @Test
  void theDoctorSaysWhatComputesAndWhy() {
    JsonNode found = Ran.lethe("doctor --json --threads 1").json();
    assertEquals(Runtime.version().toString(), found.path("java").asString());
    for (String key : new String[] {"tier", "threads"}) {
      assertTrue(found.has(key), found::toString);
    }
    String read = Ran.lethe("doctor").done().out();
    assertTrue(read.contains("tier"), read);
    assertTrue(read.lines().noneMatch(line -> line.matches("\\S+ *")), read);
  }

  @Test
  void anchorsAreDrafted() throws IOException {
    Path text = TinyModel.text(temporary.resolve("text"), 30);
    Path out = temporary.resolve("drafted.json");
    String said = Ran.lethe("anchors --text %s --out %s", text, out).done().out();
    assertTrue(said.startsWith("wrote " + out + ": "), said);
    assertTrue(Files.readString(out).contains("Starbuck"));
    Ran.lethe("anchors --text %s --out %s", text, out)
        .refused(Main.FAILED, "perhaps with your edits");
    Ran.lethe("anchors --text %s --out %s", temporary.resolve("none"), temporary.resolve("x"))
        .refused(Main.FAILED, "none");
    Ran.lethe("anchors --text %s --out %s", text, temporary.resolve("no/such/folder/a.json"))
        .refused(Main.FAILED, "there is no folder " + temporary.resolve("no/such/folder"));
  }
}
