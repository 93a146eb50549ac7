package org.lethe.format;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.lethe.format.MappedCheckpoint.Contents;
import org.lethe.format.MappedCheckpoint.Mapped;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaConfig.RopeScaling;

/**
 * Reads a GGUF whose architecture is llama: its metadata as a configuration, its tensors by name.
 */
final class GgufCheckpoint {
  /** Keys of our own, which keep Llama 3's scaling exact: GGUF has only the factors it comes to. */
  static final String SCALING = "lethe.rope_scaling.";

  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final Path file;
  private final Gguf gguf;
  private final Map<String, Gguf.Entry> entries = new LinkedHashMap<>();

  private GgufCheckpoint(Gguf gguf) {
    this.file = gguf.path();
    this.gguf = gguf;
    gguf.tensors().forEach(e -> entries.put(e.name(), e));
  }

  static Checkpoint open(Path file) {
    GgufCheckpoint reader = new GgufCheckpoint(Gguf.open(file));
    return MappedCheckpoint.open(file, reader::contents);
  }

  private Contents contents(Arena arena) {
    try (FileChannel channel = FileChannel.open(file)) {
      MemorySegment bytes = channel.map(MapMode.READ_ONLY, 0, channel.size(), arena);
      LlamaConfig config = config(bytes);
      return new Contents(config, tensors(config, bytes));
    } catch (IOException e) {
      throw ModelFormatException.of(file, e);
    }
  }

  private List<Mapped> tensors(LlamaConfig config, MemorySegment bytes) {
    List<Mapped> tensors = new ArrayList<>();
    for (LlamaTensor tensor : LlamaTensor.of(config)) {
      Gguf.Entry entry = entries.remove(tensor.ggufName());
      if (entry == null) {
        throw problem("tensor '" + tensor.ggufName() + "' is missing");
      }
      if (!entry.shape().equals(tensor.shape())) {
        throw problem(
            "tensor '%s' is %s, its metadata says %s"
                .formatted(
                    entry.name(),
                    LlamaTensor.text(entry.shape()),
                    LlamaTensor.text(tensor.shape())));
      }
      tensors.add(
          new Mapped(tensor, entry.type(), bytes.asSlice(entry.offset(), entry.bytes()), true));
    }
    for (String left : entries.keySet()) {
      if (!left.equals("rope_freqs.weight") && !left.endsWith(".attn_rot_embd.weight")) {
        throw problem("tensor '" + left + "' has no place in a Llama of this configuration");
      }
    }
    return tensors;
  }

  private LlamaConfig config(MemorySegment bytes) {
    Object architecture = gguf.metadata().get("general.architecture");
    if (!"llama".equals(architecture)) {
      throw problem("architecture is %s; llama is read".formatted(architecture));
    }
    if (integer("llama.expert_count", 0) != 0) {
      throw problem("is a mixture of experts; plain Llamas are read");
    }
    int width = integer("llama.embedding_length");
    int heads = integer("llama.attention.head_count");
    int headSize = integer("llama.attention.key_length", heads > 0 ? width / heads : 0);
    same("llama.attention.value_length", headSize);
    same("llama.rope.dimension_count", headSize);
    Gguf.Entry embedding = entries.get("token_embd.weight");
    if (embedding == null) {
      throw problem("tensor 'token_embd.weight' is missing");
    }
    double theta = real("llama.rope.freq_base", 10_000);
    try {
      return new LlamaConfig(
          integer(
              "llama.vocab_size", (int) Math.min(embedding.shape().getFirst(), Integer.MAX_VALUE)),
          width,
          integer("llama.feed_forward_length"),
          integer("llama.block_count"),
          heads,
          integer("llama.attention.head_count_kv", heads),
          headSize,
          integer("llama.context_length"),
          real("llama.attention.layer_norm_rms_epsilon", 1e-5),
          theta,
          ropeScaling(bytes, headSize, theta),
          !entries.containsKey("output.weight"),
          integer("tokenizer.ggml.bos_token_id", 1),
          integer("tokenizer.ggml.eos_token_id", 2));
    } catch (IllegalArgumentException e) {
      throw new ModelFormatException(file, String.valueOf(e.getMessage()), e);
    }
  }

  /**
   * Llama 3's scaling. GGUF stores by what each frequency is divided, not the constants that this
   * comes from: without keys of our own, Llama 3.1's are tried, and must give what is stored.
   */
  private @Nullable RopeScaling ropeScaling(MemorySegment bytes, int headSize, double theta) {
    Object kind = gguf.metadata().getOrDefault("llama.rope.scaling.type", "none");
    boolean none =
        real("llama.rope.scaling.factor", 1) == 1 && real("llama.rope.scale_linear", 1) == 1;
    if (!kind.equals("none") && !(kind.equals("linear") && none)) {
      throw problem("llama.rope.scaling.type is %s; none and Llama 3's are read".formatted(kind));
    }
    Gguf.Entry entry = entries.get("rope_freqs.weight");
    if (entry == null) {
      return null;
    }
    if (entry.type() != StoredType.F32 || !entry.shape().equals(List.of(headSize / 2L))) {
      throw problem(
          "tensor 'rope_freqs.weight' is %s %s, must be F32 (%d)"
              .formatted(entry.type(), LlamaTensor.text(entry.shape()), headSize / 2));
    }
    double largest = 1;
    for (int i = 0; i < headSize / 2; i++) {
      largest = Math.max(largest, bytes.get(FLOAT, entry.offset() + 4L * i));
    }
    RopeScaling scaling =
        new RopeScaling(
            real(SCALING + "factor", largest),
            real(SCALING + "low_freq_factor", 1),
            real(SCALING + "high_freq_factor", 4),
            integer(SCALING + "original_max_position_embeddings", 8192));
    for (int i = 0; i < headSize / 2; i++) {
      double expected = divisor(scaling, headSize, theta, i);
      float found = bytes.get(FLOAT, entry.offset() + 4L * i);
      if (!(Math.abs(found - expected) <= 1e-3 * expected)) {
        throw problem(
            "tensor 'rope_freqs.weight' is not Llama 3's scaling: element %d is %s, should be %s"
                .formatted(i, found, expected));
      }
    }
    return scaling;
  }

  /** What Llama 3's scaling divides the frequency of pair {@code i} by. */
  static double divisor(RopeScaling scaling, int headSize, double theta, int i) {
    double wavelength = 2 * Math.PI * Math.pow(theta, 2.0 * i / headSize);
    double turns = scaling.originalPositions() / wavelength;
    double smooth =
        (turns - scaling.lowFrequencyFactor())
            / (scaling.highFrequencyFactor() - scaling.lowFrequencyFactor());
    double kept = Math.clamp(smooth, 0, 1);
    return 1 / ((1 - kept) / scaling.factor() + kept);
  }

  private void same(String key, int expected) {
    int found = integer(key, expected);
    if (found != expected) {
      throw problem("%s is %d, must be the size of a head, %d".formatted(key, found, expected));
    }
  }

  private int integer(String key, int otherwise) {
    return gguf.metadata().containsKey(key) ? integer(key) : otherwise;
  }

  private int integer(String key) {
    Object value = gguf.metadata().get(key);
    if (value instanceof Number n && !(n instanceof Float) && !(n instanceof Double)) {
      return Math.clamp(n.longValue(), Integer.MIN_VALUE, Integer.MAX_VALUE);
    }
    throw problem(
        value == null ? "metadata lacks '" + key + "'" : "'" + key + "' is no whole number");
  }

  /** A float, as the number that its shortest decimal form says: 1e-5, not 9.99999974e-6. */
  private double real(String key, double otherwise) {
    return switch (gguf.metadata().get(key)) {
      case null -> otherwise;
      case Float f -> Double.parseDouble(f.toString());
      case Number n -> n.doubleValue();
      default -> throw problem("'" + key + "' is no number");
    };
  }

  private ModelFormatException problem(String what) {
    return new ModelFormatException(file, what);
  }
}
