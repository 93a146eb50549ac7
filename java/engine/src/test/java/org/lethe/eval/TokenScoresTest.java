package org.lethe.eval;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.Llama;
import org.lethe.model.LlamaWeights;
import org.lethe.model.Refusals;
import org.lethe.model.TinyLlama;

/** Scores of tokens, and the perplexity of a text, by a tiny Llama with a context of 64. */
class TokenScoresTest {
  private static final int WINDOW = 64;

  private final Device device = Device.open("cpu", new Device.Options(1, null));
  private final TinyLlama tiny = TinyLlama.tied();
  private final LlamaWeights weights = load();
  private final Llama llama = new Llama(weights);

  private LlamaWeights load() {
    try {
      return tiny.load(device, DType.F32);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @BeforeEach
  void theContextIs64() {
    assertEquals(WINDOW, llama.config().positions());
  }

  @AfterEach
  void close() {
    llama.close();
    weights.close();
    device.close();
  }

  @Test
  void aTextWithinTheContextIsScoredDirectly() {
    for (int length : new int[] {1, 2, 63, WINDOW}) {
      int[] tokens = tiny.tokens("text", length);
      assertArrayEquals(llama.logprobs(tokens), TokenScores.of(llama, tokens).logprobs());
    }
  }

  @Test
  void aLongerOneIsScoredInWindowsThatOverlapByHalf() {
    for (int length : new int[] {WINDOW + 1, 96, 97, 200}) {
      int[] tokens = tiny.tokens("text", length);
      float[] scored = TokenScores.of(llama, tokens).logprobs();
      assertEquals(length, scored.length);
      assertTrue(Float.isNaN(scored[0]));
      for (int i = 1; i < length; i++) {
        // The first window that holds token i: starts are multiples of half a window.
        int from = i < WINDOW ? 0 : (i - WINDOW) / (WINDOW / 2) * (WINDOW / 2) + WINDOW / 2;
        float[] direct = llama.logprobs(Arrays.copyOfRange(tokens, from, i + 1));
        assertEquals(direct[i - from], scored[i], 1e-4, "token " + i + " of " + length);
        assertTrue(i < WINDOW || i - from >= WINDOW / 2, "token " + i + " has half a context");
      }
    }
  }

  @Test
  void perplexityIsExpOfTheMeanLoss() {
    int[] tokens = tiny.tokens("text", 40);
    TokenScores scores = TokenScores.of(llama, tokens);
    double sum = 0;
    for (int i = 1; i < tokens.length; i++) {
      sum -= scores.logprobs()[i];
    }
    assertEquals(Math.exp(sum / 39), scores.perplexity(), 1e-9 * scores.perplexity());
    assertEquals(1, Perplexity.of(llama, List.of(tokens)) / scores.perplexity(), 1e-4);
    assertTrue(Double.isNaN(TokenScores.of(llama, new int[] {3}).perplexity()));
  }

  @Test
  void perplexityOfBlocksWeighsTokensNotBlocks() {
    int[] a = tiny.tokens("a", 50);
    int[] b = tiny.tokens("b", 7);
    double lossA = 49 * Math.log(TokenScores.of(llama, a).perplexity());
    double lossB = 6 * Math.log(TokenScores.of(llama, b).perplexity());
    double found = Perplexity.of(llama, List.of(a, b, new int[] {5}));
    assertEquals(1, found / Math.exp((lossA + lossB) / 55), 1e-4);
  }

  @Test
  void whatIsNoNumberIsRefused() {
    String said =
        Refusals.said(
            "NaN from token 2 on",
            assertThrows(
                ArithmeticException.class,
                () ->
                    new TokenScores(new int[] {1, 2, 3}, new float[] {Float.NaN, -1, Float.NaN})));
    assertTrue(said.contains("the model is broken"), said);
  }
}
