package org.lethe.text;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.lethe.format.ModelWriter;
import org.lethe.format.StoredType;
import org.lethe.kernels.DType;
import org.lethe.kernels.Device;
import org.lethe.model.Generator;
import org.lethe.model.Llama;
import org.lethe.model.LlamaWeights;
import org.lethe.model.Sampling;

/** A Llama with its tokenizer, loaded from a Hugging Face directory or a GGUF file. */
public final class LanguageModel implements AutoCloseable {
  private final LlamaWeights weights;
  private final Llama llama;
  private final Tokenizer tokenizer;
  private final Runnable atLast;

  /** Takes both over; {@code atLast} is done when it has closed them. */
  LanguageModel(LlamaWeights weights, Tokenizer tokenizer, Runnable atLast) {
    this.weights = weights;
    this.llama = new Llama(weights);
    this.tokenizer = tokenizer;
    this.atLast = atLast;
  }

  /**
   * Loads a model to run: BF16 takes 2 bytes a weight, F32 4.
   *
   * @param path a Hugging Face directory, or a {@code .gguf} file
   * @throws org.lethe.format.ModelFormatException if it cannot be read, or is no model that Lethe
   *     knows
   * @throws TextException if its tokenizer cannot be read
   */
  public static LanguageModel open(Device device, Path path, DType dtype) {
    return open(device, path, dtype, false);
  }

  /**
   * The same without loading what lies in the files as it is computed with, as BF16 weights do that
   * were written by Lethe: it is there at once, and its memory is the file's pages, shared by all
   * who map it. The files must stay as they are ({@link LlamaWeights#map}).
   */
  public static LanguageModel map(Device device, Path path, DType dtype) {
    try (ModelFiles files = ModelFiles.open(path)) {
      return files.map(device, dtype);
    }
  }

  /** Loads a model to train: exact fp32 weights whatever the dtype of its products. */
  public static LanguageModel openExact(Device device, Path path, DType dtype) {
    return open(device, path, dtype, true);
  }

  private static LanguageModel open(Device device, Path path, DType dtype, boolean exact) {
    try (ModelFiles files = ModelFiles.open(path)) {
      return files.load(device, dtype, exact);
    }
  }

  /** Its weights. */
  public LlamaWeights weights() {
    return weights;
  }

  /** The network. */
  public Llama llama() {
    return llama;
  }

  /** Text to tokens and back. */
  public Tokenizer tokenizer() {
    return tokenizer;
  }

  /** The tokens of a text with the model's BOS in front, as everything here gives it to a model. */
  public int[] prompt(String text) {
    return IntStream.concat(
            IntStream.of(weights.config().bosToken()), IntStream.of(tokenizer.encode(text)))
        .toArray();
  }

  /** Continues {@code prompt} by at most {@code maxTokens} tokens. */
  public String generate(String prompt, int maxTokens, Sampling sampling) {
    return generate(List.of(prompt), maxTokens, sampling).getFirst();
  }

  /** The same for several prompts side by side: a few take little more time than one. */
  public List<String> generate(List<String> prompts, int maxTokens, Sampling sampling) {
    return new Generator(llama)
            .generate(
                prompts.stream().map(this::prompt).toList(),
                maxTokens,
                sampling,
                (sequence, token) -> true)
            .stream()
            .map(tokenizer::decode)
            .toList();
  }

  /** UTF-8 files as blocks of tokens, each piece with the model's BOS in front. */
  public List<int[]> blocks(List<Path> files, TextBlocks.Cutting cutting) {
    return TextBlocks.of(tokenizer, weights.config().bosToken(), cutting, files);
  }

  /** Writes weights and tokenizer as a Hugging Face directory. */
  public void write(Path directory, StoredType type) {
    ModelWriter.writeHuggingFace(
        directory,
        weights.config(),
        type,
        Map.of(
            "tokenizer.json",
            tokenizer.json(),
            "tokenizer_config.json",
            tokenizer.configJson(weights.config())),
        weights);
  }

  @Override
  public void close() {
    llama.close();
    weights.close();
    tokenizer.close();
    atLast.run();
  }
}
