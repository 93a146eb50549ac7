package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.text.TinyModel;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The commands of the method, and what is done with its result. */
class MethodTest {
  private static final String TRAINING = " --batch 4 --accumulate 2 --dtype f32 --seed 3 --lr 1e-3";

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

  private Ran reinforce(Path out, String more) {
    return Ran.computing(
        "reinforce --model %s --text %s --out %s --epochs 4 --block 64 --holdout 0 %s",
        model, text, out, more + TRAINING);
  }

  private Ran label(Path reinforced, Path out, String more) {
    return Ran.computing(
        "label --model %s --reinforced %s --text %s --anchors %s --out %s --alpha 5 --block 64"
            + " --seed 3 --dtype f32 %s",
        model, reinforced, text, anchors, out, more);
  }

  private Ran finetune(Path labels, Path out, String more) {
    return Ran.computing(
        "finetune --model %s --labels %s --out %s --epochs 2 %s",
        model, labels, out, more + TRAINING);
  }

  private Ran unlearn(Path out, String more) {
    return Ran.computing(
        "unlearn --model %s --text %s --anchors %s --out %s --block 64 --batch 4 --accumulate 2"
            + " --dtype f32 --seed 3 --reinforce-epochs 4 --reinforce-lr 1e-3 --finetune-epochs 2"
            + " --finetune-lr 1e-3 --finetune-holdout 0.1 %s",
        model, text, anchors, out, more);
  }

  @Test
  void reinforceMakesAModelThatKnowsTheTextBetter() throws IOException {
    Path out = temporary.resolve("reinforced");
    String said = reinforce(out, "--shuffle").done().out();
    assertTrue(said.startsWith("wrote " + out + " after "), said);
    List<JsonNode> metrics = lines(out.resolve("metrics.jsonl"));
    assertEquals(
        List.of("phase", "step", "loss", "grad_norm", "lr", "tokens_per_second"),
        List.copyOf(metrics.getFirst().propertyNames()));
    assertEquals("reinforce", metrics.getFirst().path("phase").asString());
    assertTrue(
        metrics.getLast().path("loss").asDouble() < metrics.getFirst().path("loss").asDouble());
    double before = perplexity(model);
    double after = perplexity(out);
    assertTrue(after < before, before + " to " + after);
  }

  private double perplexity(Path of) {
    return Ran.computing("score --model %s --text %s --dtype f32 --json", of, text)
        .json()
        .path("perplexity")
        .asDouble();
  }

  @Test
  void cutsMakeAsManyTimesTheSteps() throws IOException {
    Path once = temporary.resolve("once");
    reinforce(once, "--no-shuffle").done();
    Path thrice = temporary.resolve("thrice");
    reinforce(thrice, "--no-shuffle --cuts 3").done();
    int steps = lines(once.resolve("metrics.jsonl")).size();
    int more = lines(thrice.resolve("metrics.jsonl")).size();
    assertTrue(more > 2 * steps && more <= 3 * steps, steps + " to " + more);
    assertEquals(3, run(thrice).path("cuts").asInt());
    reinforce(temporary.resolve("none"), "--cuts 65")
        .refused(Main.USAGE, "65 cuts of blocks of 64");
  }

  @Test
  void whatIsReadAlongsideAddsItsBlocksOnce() throws IOException {
    Path alone = temporary.resolve("alone");
    reinforce(alone, "--shuffle").done();
    assertTrue(run(alone).path("alongside").isMissingNode());
    Path other = TinyModel.text(temporary.resolve("other"), 200);
    Path both = temporary.resolve("both");
    reinforce(both, "--alongside " + other).done();
    int steps = lines(alone.resolve("metrics.jsonl")).size();
    int more = lines(both.resolve("metrics.jsonl")).size();
    assertTrue(
        more > steps && more < 11 * steps, steps + " to " + more); // ten times the text, once
    assertEquals(1, run(both).path("alongside").size());
    Path little = TinyModel.text(temporary.resolve("little"), 2);
    reinforce(temporary.resolve("few"), "--alongside " + little)
        .refused(Main.FAILED, "of text alongside for 4 epochs: give more of it, or fewer epochs");
    reinforce(temporary.resolve("none"), "--alongside " + temporary.resolve("missing"))
        .refused(Main.FAILED, "missing");
  }

  @Test
  void noShuffleKeepsTheOrder() throws IOException {
    Path shuffled = temporary.resolve("shuffled");
    reinforce(shuffled, "--shuffle").done();
    Path straight = temporary.resolve("straight");
    reinforce(straight, "--no-shuffle").done();
    assertFalse(run(straight).path("options").path("shuffle").asBoolean(true));
    assertTrue(run(shuffled).path("options").path("shuffle").asBoolean(false));
    assertNotEquals(
        lines(shuffled.resolve("metrics.jsonl")).getFirst().path("loss"),
        lines(straight.resolve("metrics.jsonl")).getFirst().path("loss"));
  }

  @Test
  void labelThenFinetuneOnAnotherAlpha() throws IOException {
    Path reinforced = temporary.resolve("reinforced");
    reinforce(reinforced, "--shuffle").done();
    Path labels = temporary.resolve("labels.jsonl");
    Ran shown = label(reinforced, labels, "--show 2").done();
    assertTrue(shown.out().contains("not used: 'Starbuck's', since 'Starbuck' is"));
    assertTrue(shown.out().contains("wrote " + labels), shown.out());
    long translated = shown.out().lines().filter(line -> line.startsWith("generic ")).count();
    assertTrue(translated > 0, shown.out());
    List<JsonNode> lines = lines(labels);
    for (JsonNode line : lines) {
      assertEquals(
          List.of("input_ids", "labels", "labels_0.5", "labels_2"),
          List.copyOf(line.propertyNames()));
      assertEquals(-100, line.path("labels").get(0).asInt());
      line.forEach(values -> assertEquals(line.path("input_ids").size(), values.size()));
    }
    label(reinforced, labels, "").refused(Main.FAILED, labels + " exists");

    Path out = temporary.resolve("unlearned");
    String said = finetune(labels, out, "--labels-key labels_2").done().out();
    assertTrue(said.contains("held-out loss"), "5% are held out unless said otherwise: " + said);
    assertEquals("labels_2", run(out).path("labels_key").asString());
    String refusal = finetune(labels, out, "").refused(Main.FAILED, "another run", 2);
    assertTrue(refusal.contains("labels_key: there \"labels_2\", now \"labels\""), refusal);
    finetune(labels, temporary.resolve("other"), "--labels-key labels_3")
        .refused(Main.FAILED, "there is no 'labels_3'");
  }

  @Test
  void unlearnIsTheThreeInOneFolder() throws IOException {
    Path out = temporary.resolve("run");
    assertEquals(
        "wrote " + out.resolve("unlearned"), unlearn(out, "--alpha 5").done().out().strip());
    Path reinforced = temporary.resolve("reinforced");
    reinforce(reinforced, "--shuffle").done();
    Path labels = temporary.resolve("labels.jsonl");
    label(reinforced, labels, "").done();
    assertEquals(-1, Files.mismatch(weights(reinforced), weights(out.resolve("reinforced"))));
    assertEquals(-1, Files.mismatch(labels, out.resolve("labels.jsonl")));
    JsonNode run = run(out);
    for (String key : new String[] {"lethe", "model", "text", "anchors", "options"}) {
      assertTrue(run.has(key), run::toString);
    }
    assertEquals(64, run.path("anchors").path("sha256").asString().length());
  }

  @Test
  void theReinforcedModelMayReadBlocksOfItsOwn() throws IOException {
    Path out = temporary.resolve("run");
    unlearn(out, "--reinforce-block 16 --reinforce-batch 12").done();
    Path reinforced = temporary.resolve("reinforced");
    Ran.computing(
            "reinforce --model %s --text %s --out %s --epochs 4 --block 16 --holdout 0 %s",
            model, text, reinforced, TRAINING.replace("--batch 4", "--batch 12"))
        .done();
    assertEquals(-1, Files.mismatch(weights(reinforced), weights(out.resolve("reinforced"))));
    unlearn(temporary.resolve("none"), "--reinforce-block 0").refused(Main.USAGE, "0 tokens");
  }

  @Test
  void unlearnAgainIsDoneAtOnce() throws IOException {
    Path out = temporary.resolve("run");
    unlearn(out, "--alpha 5").done();
    FileTime made = Files.getLastModifiedTime(weights(out.resolve("unlearned")));
    Ran again = unlearn(out, "--alpha 5").done();
    assertEquals("wrote " + out.resolve("unlearned"), again.out().strip());
    assertEquals("", again.err(), "nothing is computed");
    assertEquals(made, Files.getLastModifiedTime(weights(out.resolve("unlearned"))));
  }

  @Test
  void aChangedArgumentIsRefusedWithWhatDiffers() throws IOException {
    Path out = temporary.resolve("run");
    unlearn(out, "--alpha 5").done();
    String said = unlearn(out, "--alpha 4").refused(Main.FAILED, "was made by another run", 2);
    assertTrue(said.contains("options.label.alpha: there 5.0, now 4.0"), said);
    Files.writeString(text, Files.readString(text) + "More.");
    said = unlearn(out, "--alpha 5").refused(Main.FAILED, "was made by another run", 2);
    assertTrue(said.contains("sha256"), said);
  }

  /** A run that could not begin leaves nothing that stands in the way of a better one. */
  @Test
  void aRunThatCouldNotBeginCanBeMended() throws IOException {
    Path out = temporary.resolve("run");
    Path good = text;
    text = Files.writeString(temporary.resolve("short"), "Too short.");
    unlearn(out, "--alpha 5").refused(Main.FAILED, "give more text");
    text = good;
    unlearn(out, "--alpha 5").done();
  }

  @Test
  void whatIsCheapIsCheckedFirst() throws IOException {
    Path out = temporary.resolve("run");
    Path right = anchors;
    anchors = temporary.resolve("none.json");
    unlearn(out, "--alpha 5").refused(Main.FAILED, "none.json");
    anchors = Files.writeString(temporary.resolve("broken.json"), "{\"Ahab\": 3}");
    unlearn(out, "--alpha 5").refused(Main.FAILED, "Ahab");
    anchors = right;
    unlearn(out, "--alpha -1").refused(Main.USAGE, "alpha is -1");
    unlearn(out, "--beta1 1").refused(Main.USAGE, "beta1 is 1");
    unlearn(out, "--checkpoint-every 0").refused(Main.USAGE, "checkpoint");
    Path binary = Files.write(temporary.resolve("binary"), new byte[] {(byte) 0xff});
    text = binary;
    unlearn(out, "--alpha 5").refused(Main.FAILED, "malformed UTF-8");
    reinforce(out, "--shuffle").refused(Main.FAILED, "malformed UTF-8");
    label(model, out, "").refused(Main.FAILED, "malformed UTF-8");
    assertFalse(Files.exists(out), "nothing was written");
    text = TinyModel.text(temporary.resolve("text"), 20);
    label(model, temporary.resolve("no/folder/labels.jsonl"), "")
        .refused(Main.FAILED, "there is no folder " + temporary.resolve("no/folder"));
    Path file = Files.writeString(temporary.resolve("file"), "");
    reinforce(file, "--shuffle").refused(Main.FAILED, "cannot be written in");
  }

  @Test
  void aDivergedRunHasACodeOfItsOwn() throws IOException {
    byte[] weights = Files.readAllBytes(weights(model));
    ByteBuffer.wrap(weights).order(ByteOrder.LITTLE_ENDIAN).putFloat(weights.length - 4, Float.NaN);
    Files.write(weights(model), weights);
    reinforce(temporary.resolve("out"), "")
        .refused(Main.DIVERGED, "step 1: the loss is not finite");
    Ran.computing("score --model %s --text %s --json", model, text)
        .refused(Main.FAILED, "are not numbers");
    Ran.computing("generate --model %s --prompt a --max-tokens 3 --json", model)
        .refused(Main.FAILED, "are not numbers");
  }

  @Test
  void exportForOthers() throws IOException {
    Path reinforced = temporary.resolve("reinforced");
    reinforce(reinforced, "--shuffle").done();
    for (String type : new String[] {"f32", "bf16", "f16"}) {
      Path folder = temporary.resolve("folder-" + type);
      String said = export(reinforced, "safetensors", type, folder).done().out();
      assertTrue(said.contains("wrote " + folder), said);
      assertTrue(
          said.matches("(?s).*\\d+\\.\\d\\d% of the weights differ .* rounded to .*%.*"), said);
      score(folder);
    }
    for (String type : new String[] {"f32", "bf16", "f16", "q8_0"}) {
      Path file = temporary.resolve(type + ".gguf");
      export(reinforced, "gguf", type, file).done();
      score(file);
    }
    export(reinforced, "safetensors", "q8_0", temporary.resolve("x"))
        .refused(Main.USAGE, "q8_0 goes into a GGUF file");
    export(reinforced, "gguf", "f32", temporary.resolve("f32.gguf")).refused(Main.FAILED, "exists");
    export(reinforced, "gguf", "f32", temporary.resolve("no/folder/f32.gguf"))
        .refused(Main.FAILED, "there is no folder " + temporary.resolve("no/folder"));
    Path untouched = temporary.resolve("untouched.gguf");
    Ran.lethe(
            "export --model %s --to gguf --dtype f32 --out %s --baseline %s",
            model, untouched, temporary.resolve("none"))
        .refused(Main.FAILED, "none");
    assertFalse(Files.exists(untouched));
  }

  private Ran export(Path of, String to, String type, Path out) {
    return Ran.lethe(
        "export --model %s --to %s --dtype %s --out %s --baseline %s", of, to, type, out, model);
  }

  private void score(Path exported) {
    assertTrue(perplexity(exported) > 1);
  }

  @Test
  void evalOfTwoModels() throws IOException {
    Path prompts =
        Files.writeString(
            temporary.resolve("prompts.json"),
            """
            [{"prompt": "The captain is", "answer": " Ahab", "distractors": [" Tom"], "kind": "probability"},
             {"prompt": "The captain said", "answer": "anything", "kind": "completion", "split": "tune"}]
            """);
    Ran ran =
        Ran.computing(
            "eval --model %s --model %s --prompts %s --anchors %s --text %s --unrelated %s --json",
            model, model, prompts, anchors, text, text);
    List<String> lines = ran.done().out().lines().toList();
    assertEquals(2, lines.size(), ran.out());
    assertEquals(lines.getFirst(), lines.getLast());
    JsonNode found = new JsonMapper().readTree(lines.getFirst());
    double answer = found.path("answers").get(0).path("probability").asDouble();
    assertTrue(answer > 0 && answer < 1, found::toString);
    assertEquals(answer, found.path("known_answers").asDouble());
    assertEquals(0, found.path("familiarity").asDouble(-1));
    assertEquals(found.path("perplexity_text"), found.path("perplexity_unrelated"));
    assertTrue(found.path("perplexity_text").asDouble() > 1);

    JsonNode half =
        Ran.computing(
                "eval --model %s --prompts %s --anchors %s --split tune --json",
                model, prompts, anchors)
            .json();
    assertTrue(half.path("known_answers").isNull(), half::toString);
    assertTrue(half.path("perplexity_text").isNull(), half::toString);
    assertEquals(1, half.path("completions").size());
    Ran.computing("eval --model %s --prompts %s --anchors %s --split x", model, prompts, anchors)
        .refused(Main.FAILED, "no prompt of split x");
  }

  @Test
  void evalDraftsItsPromptsFromTheText() throws IOException {
    String filler = "The sea was grey, and the wind went about. ".repeat(6);
    Path book =
        Files.writeString(temporary.resolve("book"), (filler + "Old Ahab rose. ").repeat(9));
    JsonNode found =
        Ran.computing("eval --model %s --anchors %s --text %s --json", model, anchors, book).json();
    assertTrue(found.path("answers").size() > 5, found::toString);
    assertTrue(found.path("known_answers").isNumber(), found::toString);
    Ran.lethe("eval --model %s --anchors %s", model, anchors)
        .refused(Main.USAGE, "needs --prompts, or --text");
    Path other = Files.writeString(temporary.resolve("other"), "Nothing about that. ".repeat(40));
    Ran.lethe("eval --model %s --anchors %s --text %s", model, anchors, other)
        .refused(Main.FAILED, "no unique expression");
  }

  private static Path weights(Path folder) {
    return folder.resolve("model.safetensors");
  }

  private static JsonNode run(Path folder) throws IOException {
    return new JsonMapper().readTree(Files.readAllBytes(folder.resolve("run.json")));
  }

  private static List<JsonNode> lines(Path file) throws IOException {
    try (Stream<String> lines = Files.lines(file)) {
      return lines.map(line -> new JsonMapper().readTree(line)).toList();
    }
  }
}
