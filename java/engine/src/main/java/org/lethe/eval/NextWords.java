package org.lethe.eval;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.lethe.kernels.DType;
import org.lethe.kernels.Tensor;
import org.lethe.model.Llama;
import org.lethe.text.Tokenizer;

/**
 * A prompt and some words that may follow it, to be watched while a model learns or forgets.
 *
 * @param prompt the text
 * @param words each with its leading space; a word counts by its first token
 */
public record NextWords(String prompt, List<String> words) {
  /** The probability of each word as the next, by the model as it is now. */
  public Map<String, Double> probabilities(Llama llama, Tokenizer tokenizer) {
    int[] tokens =
        IntStream.concat(
                IntStream.of(llama.config().bosToken()), IntStream.of(tokenizer.encode(prompt)))
            .toArray();
    int vocabulary = llama.config().vocabulary();
    float[] logits;
    try (Tensor all =
        llama.weights().device().allocate("watched", DType.F32, tokens.length, vocabulary)) {
      llama.logits(tokens, all);
      logits = all.rows(tokens.length - 1L, 1).toFloats();
    }
    double max = Double.NEGATIVE_INFINITY;
    for (float logit : logits) {
      max = Math.max(max, logit);
    }
    double sum = 0;
    for (float logit : logits) {
      sum += Math.exp(logit - max);
    }
    var result = new LinkedHashMap<String, Double>();
    for (String word : words) {
      result.put(word, Math.exp(logits[tokenizer.encode(word)[0]] - max) / sum);
    }
    return result;
  }
}
