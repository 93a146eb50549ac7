package org.lethe.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.text.LanguageModel;
import org.lethe.text.TinyModel;
import org.lethe.text.TinyTokenizer;
import tools.jackson.databind.JsonNode;

class ScoreCommandTest {
  @TempDir private Path temporary;
  private Path model = Path.of("");
  private Path text = Path.of("");

  @BeforeEach
  void write() throws IOException {
    model = TinyModel.write(temporary.resolve("model"));
    text = Files.writeString(temporary.resolve("text"), "Call me Ishmaël.");
  }

  private Ran score(String dtype, String what) {
    return Ran.computing("score --model %s --dtype %s --json %s", model, dtype, what);
  }

  @Test
  void aTextHasBosInFront() {
    JsonNode scored = score("f32", "--text " + text).json();
    assertEquals(List.of("tokens", "logprobs", "perplexity"), List.copyOf(scored.propertyNames()));
    int[] tokens = ints(scored.path("tokens"));
    assertEquals(TinyTokenizer.BOS, tokens[0]);
    assertEquals(1 + "Call me Ishmaël.".length() + 1, tokens.length, "ë is two bytes");
    assertTrue(scored.path("logprobs").get(0).isNull());
    double sum = 0;
    for (int i = 1; i < tokens.length; i++) {
      double logprob = scored.path("logprobs").get(i).asDouble();
      assertTrue(logprob < 0, () -> scored.toString());
      sum += logprob;
    }
    assertEquals(
        Math.exp(-sum / (tokens.length - 1)), scored.path("perplexity").asDouble(), 1e-6 * 260);
  }

  @Test
  void tokensAreTakenAsTheyAre() throws IOException {
    JsonNode scored = score("f32", "--tokens 84,104,105,115").json();
    assertEquals(List.of(84, 104, 105, 115), list(scored.path("tokens")));
    try (Device device = Device.open("cpu", new Device.Options(1, null));
        LanguageModel language = LanguageModel.open(device, model, DType.F32)) {
      float[] direct = language.llama().logprobs(new int[] {84, 104, 105, 115});
      for (int i = 1; i < direct.length; i++) {
        assertEquals(direct[i], scored.path("logprobs").get(i).asDouble(), 0.0);
      }
    }
  }

  @Test
  void aTextAndItsTokensScoreTheSame() {
    JsonNode byText = score("bf16", "--text " + text).json();
    String tokens =
        list(byText.path("tokens")).stream().map(String::valueOf).collect(Collectors.joining(","));
    assertEquals(byText, score("bf16", "--tokens " + tokens).json());
  }

  @Test
  void bf16IsCloseToF32() {
    JsonNode exact = score("f32", "--text " + text).json().path("logprobs");
    JsonNode rounded = score("bf16", "--text " + text).json().path("logprobs");
    double worst = 0;
    for (int i = 1; i < exact.size(); i++) {
      worst = Math.max(worst, Math.abs(exact.get(i).asDouble() - rounded.get(i).asDouble()));
    }
    assertTrue(worst > 0 && worst < 0.3, "largest difference " + worst);
  }

  @Test
  void nothingPredictsALoneToken() {
    assertEquals(
        "{\"tokens\":[7],\"logprobs\":[null],\"perplexity\":null}",
        score("f32", "--tokens 7").done().out().strip());
  }

  @Test
  void aTextLongerThanTheContextIsScoredWhole() throws IOException {
    Path book = TinyModel.text(temporary.resolve("book"), 5);
    JsonNode scored = score("f32", "--text " + book).json();
    int tokens = scored.path("tokens").size();
    assertTrue(tokens > 3 * TinyModel.POSITIONS, "tokens " + tokens);
    assertEquals(tokens, scored.path("logprobs").size());
    assertEquals(
        tokens - 1, scored.path("logprobs").valueStream().filter(JsonNode::isNumber).count());
  }

  @Test
  void forPeopleALineAToken() {
    Ran ran = Ran.computing("score --model %s --text %s", model, text).done();
    assertEquals(1 + 17 + 1, ran.out().lines().count(), ran.out());
    assertTrue(ran.out().contains("<s>"), ran.out());
    assertTrue(ran.out().contains("perplexity"), ran.out());
  }

  @Test
  void whatCannotBeScoredIsRefused() throws IOException {
    Path missing = temporary.resolve("missing");
    score("f32", "--text " + missing).refused(Main.FAILED, missing + ": does not exist");
    Path binary = Files.write(temporary.resolve("binary"), new byte[] {'a', (byte) 0xff});
    score("f32", "--text " + binary).refused(Main.FAILED, "malformed UTF-8 at byte 1");
    score("f32", "--tokens 5,260").refused(Main.FAILED, "260");
    score("f32", "--tokens 5,x").refused(Main.USAGE, "'x'");
    score("f32", "--tier avx2").refused(Main.USAGE, "--text");
    score("f32", "--tokens 5 --text " + text).refused(Main.USAGE, "mutually exclusive");
    score("f16", "--tokens 5").refused(Main.USAGE, "f16");
  }

  private static int[] ints(JsonNode array) {
    return list(array).stream().mapToInt(Integer::intValue).toArray();
  }

  private static List<Integer> list(JsonNode array) {
    return array.valueStream().map(JsonNode::asInt).toList();
  }
}
