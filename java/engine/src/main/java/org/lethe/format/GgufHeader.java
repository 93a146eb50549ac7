package org.lethe.format;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaConfig.RopeScaling;

/** The header of a GGUF to be written (version 3): what is in it, and where its tensors go. */
final class GgufHeader {
  private static final String ROPE_FACTORS = "rope_freqs.weight";
  private static final String TOKENS = "tokenizer.ggml.tokens";

  /** A tensor and the zeros after it, up to the next one. */
  record Placed(LlamaTensor tensor, StoredType type, int padding) {}

  private final LlamaConfig config;
  private final List<Placed> tensors = new ArrayList<>();
  private final float[] ropeFactors;
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteBuffer number = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
  private long dataBytes;

  GgufHeader(Path file, LlamaConfig config, StoredType type, Map<String, Object> tokenizer) {
    this.config = config;
    if (tokenizer.get(TOKENS) instanceof List<?> tokens && tokens.size() != config.vocabulary()) {
      throw new ModelFormatException(
          file,
          "the tokenizer has %d tokens, the model %d"
              .formatted(tokens.size(), config.vocabulary()));
    }
    Map<String, Object> metadata = metadata(type);
    tokenizer.forEach(
        (key, value) -> {
          if (!key.startsWith("tokenizer.")) {
            throw new IllegalArgumentException("'" + key + "' is no key of a tokenizer");
          }
          metadata.putIfAbsent(key, value);
        });
    for (LlamaTensor tensor : LlamaTensor.of(config)) {
      StoredType stored =
          tensor.isNorm()
              ? StoredType.F32
              : tensor.columns() % type.blockElements() == 0 ? type : StoredType.F16;
      long bytes = stored.bytes(tensor.elements());
      tensors.add(new Placed(tensor, stored, (int) (align(bytes) - bytes)));
    }
    ropeFactors = ropeFactors(config);
    putInt(Gguf.MAGIC);
    putInt(3);
    putLong(tensors.size() + (ropeFactors.length > 0 ? 1 : 0));
    putLong(metadata.size());
    metadata.forEach(this::putPair);
    putPlaces();
    out.writeBytes(new byte[(int) (align(out.size()) - out.size())]);
  }

  /** All of it, up to the first tensor. */
  ByteBuffer bytes() {
    return ByteBuffer.wrap(out.toByteArray());
  }

  /** What follows it. */
  long dataBytes() {
    return dataBytes;
  }

  List<Placed> tensors() {
    return tensors;
  }

  /** Writes the last tensor, if Llama 3's scaling asks for it. */
  void writeRopeFactors(FileChannel file) throws IOException {
    ByteBuffer bytes =
        ByteBuffer.allocate((int) align(4L * ropeFactors.length)).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(ropeFactors);
    TensorWriter.write(file, bytes);
  }

  private Map<String, Object> metadata(StoredType type) {
    Map<String, Object> pairs = new LinkedHashMap<>();
    pairs.put("general.architecture", "llama");
    pairs.put("general.type", "model");
    pairs.put("general.quantization_version", 2);
    pairs.put(
        "general.file_type",
        switch (type) { // llama.cpp's enum llama_ftype
          case F32 -> 0;
          case F16 -> 1;
          case Q8_0 -> 7;
          case BF16 -> 32;
          default -> throw new IllegalArgumentException("a GGUF is not written as " + type);
        });
    pairs.put("llama.vocab_size", config.vocabulary());
    pairs.put("llama.context_length", config.positions());
    pairs.put("llama.embedding_length", config.width());
    pairs.put("llama.feed_forward_length", config.feedForward());
    pairs.put("llama.block_count", config.layers());
    pairs.put("llama.attention.head_count", config.heads());
    pairs.put("llama.attention.head_count_kv", config.kvHeads());
    pairs.put("llama.attention.key_length", config.headSize());
    pairs.put("llama.attention.value_length", config.headSize());
    pairs.put("llama.attention.layer_norm_rms_epsilon", (float) config.normEps());
    pairs.put("llama.rope.dimension_count", config.headSize());
    pairs.put("llama.rope.freq_base", (float) config.ropeTheta());
    RopeScaling scaling = config.ropeScaling();
    if (scaling != null) {
      String prefix = GgufCheckpoint.SCALING;
      pairs.put(prefix + "factor", scaling.factor());
      pairs.put(prefix + "low_freq_factor", scaling.lowFrequencyFactor());
      pairs.put(prefix + "high_freq_factor", scaling.highFrequencyFactor());
      pairs.put(prefix + "original_max_position_embeddings", scaling.originalPositions());
    }
    pairs.put("tokenizer.ggml.bos_token_id", config.bosToken());
    pairs.put("tokenizer.ggml.eos_token_id", config.eosToken());
    return pairs;
  }

  private static float[] ropeFactors(LlamaConfig config) {
    RopeScaling scaling = config.ropeScaling();
    float[] factors = new float[scaling == null ? 0 : config.headSize() / 2];
    for (int i = 0; i < factors.length && scaling != null; i++) {
      factors[i] =
          (float) GgufCheckpoint.divisor(scaling, config.headSize(), config.ropeTheta(), i);
    }
    return factors;
  }

  private void putPlaces() {
    for (Placed placed : tensors) {
      LlamaTensor tensor = placed.tensor();
      putPlace(tensor.ggufName(), tensor.shape(), placed.type());
      dataBytes += placed.type().bytes(tensor.elements()) + placed.padding();
    }
    if (ropeFactors.length > 0) {
      putPlace(ROPE_FACTORS, List.of((long) ropeFactors.length), StoredType.F32);
      dataBytes += align(4L * ropeFactors.length);
    }
  }

  private void putPlace(String name, List<Long> shape, StoredType type) {
    putString(name);
    putInt(shape.size());
    shape.reversed().forEach(this::putLong);
    putInt(type.ggmlCode());
    putLong(dataBytes);
  }

  private void putPair(String key, Object value) {
    putString(key);
    switch (value) {
      case Integer n when n >= 0 -> putInt(4).putInt(n);
      case Integer n -> putInt(5).putInt(n);
      case Long n -> putInt(n < 0 ? 11 : 10).putLong(n);
      case Float x -> putInt(6).putInt(Float.floatToRawIntBits(x));
      case Double x -> putInt(12).putLong(Double.doubleToRawLongBits(x));
      case Boolean b -> {
        putInt(7);
        out.write(b ? 1 : 0);
      }
      case String s -> putInt(8).putString(s);
      default -> putArray(key, value);
    }
  }

  private void putArray(String key, Object array) {
    putInt(9);
    switch (array) {
      case byte[] bytes -> {
        putInt(0).putLong(bytes.length);
        out.writeBytes(bytes);
      }
      case int[] ints -> {
        putInt(5).putLong(ints.length);
        for (int n : ints) {
          putInt(n);
        }
      }
      case float[] floats -> {
        putInt(6).putLong(floats.length);
        for (float x : floats) {
          putInt(Float.floatToRawIntBits(x));
        }
      }
      case List<?> strings when strings.stream().allMatch(String.class::isInstance) -> {
        putInt(8).putLong(strings.size());
        strings.forEach(s -> putString((String) s));
      }
      default ->
          throw new IllegalArgumentException(
              "'%s' is a %s; strings, numbers, and arrays byte[], int[], float[], List<String> are written"
                  .formatted(key, array.getClass().getSimpleName()));
    }
  }

  private GgufHeader putInt(int n) {
    out.write(number.putInt(0, n).array(), 0, 4);
    return this;
  }

  private GgufHeader putLong(long n) {
    out.write(number.putLong(0, n).array(), 0, 8);
    return this;
  }

  private GgufHeader putString(String s) {
    byte[] utf8 = s.getBytes(StandardCharsets.UTF_8);
    putLong(utf8.length);
    out.writeBytes(utf8);
    return this;
  }

  private static long align(long position) {
    return Gguf.align(position, Gguf.DEFAULT_ALIGNMENT);
  }
}
