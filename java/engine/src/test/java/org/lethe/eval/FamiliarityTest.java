package org.lethe.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.Sampling;
import org.lethe.text.LanguageModel;
import org.lethe.text.TinyModel;

class FamiliarityTest {
  @TempDir private Path temporary;

  @Test
  void aNameIsAWholeWordInItsOwnCapitals() {
    assertTrue(Familiarity.names("Then Ahab spoke", "Ahab"));
    assertTrue(Familiarity.names("\"Ahab!\"", "Ahab"));
    assertTrue(Familiarity.names("Ahab's leg", "Ahab"));
    assertTrue(Familiarity.names("the Moby-Dick of", "Moby-Dick"));
    assertTrue(Familiarity.names("(Mrs. Hussey)", "Mrs. Hussey"), "a dot is a dot");
    assertFalse(Familiarity.names("Ahabs", "Ahab"));
    assertFalse(Familiarity.names("éAhab", "Ahab"), "letters are letters in every script");
    assertFalse(Familiarity.names("Ahab2", "Ahab"));
    assertFalse(Familiarity.names("ahab", "Ahab"));
    assertFalse(Familiarity.names("Mrsx Hussey", "Mrs. Hussey"));
    assertFalse(Familiarity.names("", "Ahab"));
  }

  @Test
  void theProbabilityOfAnAnswerIsTheProductOverItsTokens() {
    try (Device device = Device.open("cpu", new Device.Options(1, null));
        LanguageModel model =
            LanguageModel.open(device, TinyModel.write(temporary.resolve("m")), DType.F32)) {
      int[] prompt = model.prompt("The cap");
      int[] answer = model.tokenizer().encode(" Ahab");
      assertEquals(5, answer.length);
      double product = 1;
      int[] tokens = prompt;
      for (int token : answer) { // asked anew for each token
        tokens = Arrays.copyOf(tokens, tokens.length + 1);
        tokens[tokens.length - 1] = token;
        product *= Math.exp(model.llama().logprobs(tokens)[tokens.length - 1]);
      }
      List<Double> found =
          Familiarity.probabilities(model, "The cap", List.of(" A", " Ahab", " Starbuck said"));
      assertTrue(product > 0);
      assertEquals(1, found.get(1) / product, 1e-4);
      double alone = Familiarity.probabilities(model, "The cap", List.of(" A")).getFirst();
      assertEquals(1, found.get(0) / alone, 1e-4);
    }
  }

  @Test
  void aCompletionIsGreedyAndWhatThePromptNamesDoesNotCount() {
    try (Device device = Device.open("cpu", new Device.Options(1, null));
        LanguageModel model =
            LanguageModel.open(device, TinyModel.write(temporary.resolve("m")), DType.F32)) {
      // Drawn at random, the tiny model would say anything; greedily it repeats itself.
      String said = model.generate("aaa ", Familiarity.COMPLETION_TOKENS, Sampling.GREEDY);
      Prompt prompt = new Prompt("1", "aaa ", "any", List.of(), Prompt.Kind.COMPLETION, "");
      String name = said.strip();
      Prompt naming = new Prompt("2", "Ahab ", "any", List.of(), Prompt.Kind.COMPLETION, "");
      List<Familiarity.Completion> completions =
          Familiarity.complete(model, List.of(prompt, naming), List.of(name, "Ahab"), made -> {});
      Familiarity.Completion completion = completions.getFirst();
      assertEquals(said, completion.text());
      assertEquals(List.of(name), completion.named());
      assertTrue(completion.familiar());
      assertEquals(naming, completions.getLast().prompt());
      assertFalse(completions.getLast().named().contains("Ahab"));
    }
  }

  @Test
  void manyPromptsAreCompletedAsEachAlone() {
    try (Device device = Device.open("cpu", new Device.Options(1, null));
        LanguageModel model =
            LanguageModel.open(device, TinyModel.write(temporary.resolve("m")), DType.F32)) {
      var prompts = new ArrayList<Prompt>();
      for (int i = 0;
          i < 40;
          i++) { // more than are computed at once; every tenth has no room for 60
        String text = "abc ".repeat(i % 10 == 9 ? 25 : 1 + i % 10);
        prompts.add(new Prompt("p" + i, text, "any", List.of(), Prompt.Kind.COMPLETION, ""));
      }
      var heard = new ArrayList<Integer>();
      List<Familiarity.Completion> all =
          Familiarity.complete(model, prompts, List.of(), heard::add);
      assertEquals(40, all.size());
      assertEquals(40, heard.getLast());
      assertTrue(heard.size() > 4 && heard.size() < 40, heard::toString);
      for (int i = 0; i < 40; i++) {
        assertEquals(prompts.get(i), all.get(i).prompt());
        int room = TinyModel.POSITIONS - model.prompt(prompts.get(i).text()).length;
        int tokens = Math.min(room, Familiarity.COMPLETION_TOKENS);
        String alone = model.generate(prompts.get(i).text(), tokens, Sampling.GREEDY);
        assertEquals(alone, all.get(i).text(), "prompt " + i);
      }
    }
  }

  @Test
  void manyAnswersAreScoredAsEachAlone() {
    try (Device device = Device.open("cpu", new Device.Options(1, null));
        LanguageModel model =
            LanguageModel.open(device, TinyModel.write(temporary.resolve("m")), DType.F32)) {
      String prompt = "The captain said ".repeat(5);
      List<String> answers = // more than are computed at once
          IntStream.range(0, 50).mapToObj(i -> " a" + "b".repeat(i % 7)).toList();
      List<Double> together = Familiarity.probabilities(model, prompt, answers);
      assertEquals(50, together.size());
      for (int i = 0; i < 50; i++) {
        double alone = Familiarity.probabilities(model, prompt, List.of(answers.get(i))).getFirst();
        assertEquals(1, together.get(i) / alone, 1e-4, answers.get(i));
      }
    }
  }
}
