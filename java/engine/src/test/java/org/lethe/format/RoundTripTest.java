package org.lethe.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.lethe.model.LlamaConfig.RopeScaling;

/** What ModelWriter writes, Checkpoint reads. */
final class RoundTripTest {
  @TempDir Path folder;

  static Stream<Arguments> directories() {
    return Stream.of(StoredType.F32, StoredType.F16, StoredType.BF16)
        .flatMap(t -> Stream.of(Arguments.of(t, true), Arguments.of(t, false)));
  }

  @ParameterizedTest
  @MethodSource("directories")
  void aDirectoryHoldsTheWeightsRoundedToItsType(StoredType type, boolean tied) {
    TinyLlama llama = TinyLlama.of(tied, tied ? null : TinyLlama.LLAMA_3_1);
    Path model = folder.resolve("model");
    ModelWriter.writeHuggingFace(
        model, llama.config, type, Map.of("tokenizer.json", new byte[] {1, 2}), llama);
    assertEquals(List.of("config.json", "model.safetensors", "tokenizer.json"), files(model));
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      assertEquals(llama.config, checkpoint.config());
      assertEquals(llama.names(), checkpoint.tensors());
      assertEquals(model, checkpoint.path());
      for (String name : llama.names()) {
        assertEquals(type, checkpoint.stored(name).type());
        assertArrayEquals(rounded(type, llama.weight(name)), read(checkpoint, name), name);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = StoredType.class,
      names = {"F32", "F16", "BF16", "Q8_0"})
  void aGgufHoldsTheWeightsRoundedToItsTypeAndNormsExactly(StoredType type) {
    TinyLlama llama = TinyLlama.of(type == StoredType.F16, TinyLlama.LLAMA_3_1);
    Path file = folder.resolve("model.gguf");
    ModelWriter.writeGguf(file, llama.config, type, Map.of(), llama);
    try (Checkpoint checkpoint = Checkpoint.open(file)) {
      assertEquals(llama.config, checkpoint.config());
      assertEquals(llama.names(), checkpoint.tensors());
      for (String name : llama.names()) {
        StoredType stored = name.contains("norm") ? StoredType.F32 : type;
        assertEquals(stored, checkpoint.stored(name).type(), name);
        assertArrayEquals(rounded(stored, llama.weight(name)), read(checkpoint, name), name);
      }
    }
  }

  /** What llama.cpp's conversion does: (heads, 2, D/2, columns) to (heads, D/2, 2, columns). */
  @Test
  void aGgufHasThePairsThatRopeTurnsSideBySide() throws IOException {
    TinyLlama llama = TinyLlama.of(true, null);
    Path file = folder.resolve("model.gguf");
    ModelWriter.writeGguf(file, llama.config, StoredType.F32, Map.of(), llama);
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    Gguf.Entry k =
        Gguf.open(file).tensors().stream()
            .filter(e -> e.name().equals("blk.1.attn_k.weight"))
            .findFirst()
            .orElseThrow();
    float[] w = llama.weight("model.layers.1.self_attn.k_proj.weight");
    int at = (int) k.offset();
    for (int head = 0; head < 2; head++) {
      for (int i = 0; i < 8; i++) {
        for (int half = 0; half < 2; half++) {
          for (int column = 0; column < 32; column++) {
            assertEquals(w[((head * 2 + half) * 8 + i) * 32 + column], bytes.getFloat(at));
            at += 4;
          }
        }
      }
    }
    try (Checkpoint checkpoint = Checkpoint.open(file)) {
      assertNull(checkpoint.raw("model.layers.1.self_attn.k_proj.weight"));
      assertNotNull(checkpoint.raw("model.layers.1.self_attn.v_proj.weight"));
    }
  }

  /** As llama.cpp's conversion writes them: the factors are there, what they come from is not. */
  @Test
  void llama3sScalingIsKnownByItsFactors() throws IOException {
    TinyLlama llama = TinyLlama.of(true, TinyLlama.LLAMA_3_1);
    Path file = folder.resolve("model.gguf");
    ModelWriter.writeGguf(file, llama.config, StoredType.F32, Map.of(), llama);
    forgetScaling(file);
    try (Checkpoint checkpoint = Checkpoint.open(file)) {
      assertEquals(TinyLlama.LLAMA_3_1, checkpoint.config().ropeScaling());
    }
    TinyLlama other = TinyLlama.of(true, new RopeScaling(4, 1.5, 3, 64));
    Path unknown = folder.resolve("other.gguf");
    ModelWriter.writeGguf(unknown, other.config, StoredType.F32, Map.of(), other);
    try (Checkpoint checkpoint = Checkpoint.open(unknown)) {
      assertEquals(other.config, checkpoint.config());
    }
    forgetScaling(unknown);
    String message =
        assertThrows(ModelFormatException.class, () -> Checkpoint.open(unknown)).getMessage();
    assertTrue(
        String.valueOf(message).contains("'rope_freqs.weight' is not Llama 3's scaling"), message);
  }

  private static void forgetScaling(Path file) throws IOException {
    String bytes = Files.readString(file, StandardCharsets.ISO_8859_1);
    Files.writeString(
        file,
        bytes.replace("lethe.rope_scaling", "other.rope_scaling"),
        StandardCharsets.ISO_8859_1);
  }

  @Test
  void anyStretchOfAPermutedTensorReadsLikeTheWhole() {
    TinyLlama llama = TinyLlama.of(true, null);
    Path file = folder.resolve("model.gguf");
    ModelWriter.writeGguf(file, llama.config, StoredType.Q8_0, Map.of(), llama);
    String name = "model.layers.0.self_attn.q_proj.weight";
    try (Checkpoint checkpoint = Checkpoint.open(file)) {
      float[] whole = read(checkpoint, name);
      for (int first : new int[] {0, 1, 31, 32, 500, whole.length - 77}) {
        float[] part = new float[77];
        checkpoint.read(name, first, MemorySegment.ofArray(part));
        for (int i = 0; i < part.length; i++) {
          assertEquals(whole[first + i], part[i], first + " + " + i);
        }
      }
    }
  }

  @Test
  void aLlamaAboveTheLimitIsShardedWithAnIndex() throws IOException {
    TinyLlama llama = TinyLlama.of(false, null);
    Path model = folder.resolve("model");
    ModelWriter.writeHuggingFace(model, llama.config, StoredType.F32, Map.of(), llama, 20_000);
    List<String> files = files(model);
    assertTrue(files.contains("model.safetensors.index.json"), files.toString());
    assertTrue(files.contains("model-00001-of-00006.safetensors"), files.toString());
    assertTrue(files.contains("model-00006-of-00006.safetensors"), files.toString());
    for (String file : files) {
      assertTrue(Files.size(model.resolve(file)) < 23_000, file);
    }
    String index = Files.readString(model.resolve("model.safetensors.index.json"));
    assertTrue(index.contains("\"total_size\" : " + 4 * llama.config.parameters()), index);
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      assertEquals(llama.names(), checkpoint.tensors());
      for (String name : llama.names()) {
        assertArrayEquals(llama.weight(name), read(checkpoint, name), name);
      }
    }
  }

  @Test
  void plainBytesAreMapped() {
    TinyLlama llama = TinyLlama.of(false, null);
    for (StoredType type : new StoredType[] {StoredType.F32, StoredType.F16, StoredType.BF16}) {
      Path model = folder.resolve(type.name());
      ModelWriter.writeHuggingFace(model, llama.config, type, Map.of(), llama);
      try (Checkpoint checkpoint = Checkpoint.open(model)) {
        MemorySegment raw = checkpoint.raw("lm_head.weight");
        if (type == StoredType.F16) {
          assertNull(raw);
          continue;
        }
        assertNotNull(raw);
        assertEquals(type.bytes(11 * 32), raw.byteSize());
        float second =
            type == StoredType.F32
                ? raw.get(ValueLayout.JAVA_FLOAT, 4)
                : Float.intBitsToFloat(raw.get(ValueLayout.JAVA_SHORT, 2) << 16);
        assertEquals(rounded(type, llama.weight("lm_head.weight"))[1], second);
      }
    }
  }

  @Test
  void q8FallsBackToF16WhereBlocksDoNotFitTheColumns() {
    TinyLlama llama = TinyLlama.withWidth(36, 64);
    Path file = folder.resolve("odd.gguf");
    ModelWriter.writeGguf(file, llama.config, StoredType.Q8_0, Map.of(), llama);
    try (Checkpoint checkpoint = Checkpoint.open(file)) {
      assertEquals(StoredType.F16, checkpoint.stored("lm_head.weight").type());
      assertEquals(
          StoredType.Q8_0, checkpoint.stored("model.layers.0.mlp.down_proj.weight").type());
      assertArrayEquals(
          rounded(StoredType.F16, llama.weight("lm_head.weight")),
          read(checkpoint, "lm_head.weight"));
    }
  }

  @Test
  void theTokenizerOfAGgufComesBackAsItWas() {
    TinyLlama llama = TinyLlama.of(true, null);
    Map<String, Object> tokenizer = new LinkedHashMap<>();
    tokenizer.put("tokenizer.ggml.model", "gpt2");
    tokenizer.put(
        "tokenizer.ggml.tokens", IntStream.range(0, 11).mapToObj(i -> "t\u00e9" + i).toList());
    tokenizer.put("tokenizer.ggml.token_type", new int[] {1, -3});
    tokenizer.put("tokenizer.ggml.scores", new float[] {0.5f, -1e9f});
    tokenizer.put("tokenizer.ggml.precompiled_charsmap", new byte[] {0, -1});
    tokenizer.put("tokenizer.ggml.add_bos_token", true);
    tokenizer.put("tokenizer.ggml.padding_token_id", 7);
    Path file = folder.resolve("model.gguf");
    ModelWriter.writeGguf(file, llama.config, StoredType.F32, tokenizer, llama);
    Map<String, Object> read = Gguf.open(file).metadata();
    tokenizer.forEach(
        (key, value) -> {
          switch (value) {
            case int[] ints -> assertArrayEquals(ints, (int[]) read.get(key));
            case float[] floats -> assertArrayEquals(floats, (float[]) read.get(key));
            case byte[] bytes -> assertArrayEquals(bytes, (byte[]) read.get(key));
            default -> assertEquals(value, read.get(key), key);
          }
        });
    assertEquals(1, read.get("tokenizer.ggml.bos_token_id"));
    assertEquals(2, read.get("tokenizer.ggml.eos_token_id"));
  }

  @Test
  void readsBeyondATensorAreRefused() {
    TinyLlama llama = TinyLlama.of(true, null);
    Path model = folder.resolve("model");
    ModelWriter.writeHuggingFace(model, llama.config, StoredType.F32, Map.of(), llama);
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      MemorySegment two = MemorySegment.ofArray(new float[2]);
      String name = "model.norm.weight";
      checkpoint.read(name, 30, two);
      for (long first : new long[] {-1, 31, 32, 33, Long.MAX_VALUE, Long.MIN_VALUE}) {
        assertThrows(
            IllegalArgumentException.class,
            () -> checkpoint.read(name, first, two),
            String.valueOf(first));
      }
      MemorySegment odd = MemorySegment.ofArray(new byte[3]);
      assertThrows(IllegalArgumentException.class, () -> checkpoint.read(name, 0, odd));
      assertThrows(IllegalArgumentException.class, () -> checkpoint.read("lm_head.weight", 0, two));
    }
  }

  @Test
  void aClosedCheckpointRefusesReadsAndMayBeClosedAgain() {
    TinyLlama llama = TinyLlama.of(true, null);
    Path model = folder.resolve("model");
    ModelWriter.writeHuggingFace(model, llama.config, StoredType.F32, Map.of(), llama);
    Checkpoint checkpoint = Checkpoint.open(model);
    checkpoint.close();
    checkpoint.close();
    MemorySegment two = MemorySegment.ofArray(new float[2]);
    assertThrows(IllegalStateException.class, () -> checkpoint.read("model.norm.weight", 0, two));
  }

  @Test
  void configurationsOfOldAndNewTransformersAreRead() throws IOException {
    String sizes =
        """
        "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "unknown_key": [1, {"deep": 2}],""";
    String old =
        "{\"architectures\": [\"LlamaForCausalLM\"], %s \"rope_theta\": 500000.0, \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}, \"eos_token_id\": [5, 6], \"torch_dtype\": \"bfloat16\"}"
            .formatted(sizes);
    String recent =
        "{\"architectures\": [\"LlamaForCausalLM\"], %s \"rope_parameters\": {\"rope_theta\": 500000.0, \"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}, \"eos_token_id\": 5, \"num_key_value_heads\": null}"
            .formatted(sizes);
    Path file = folder.resolve("config.json");
    for (String json : new String[] {old, recent}) {
      Files.writeString(file, json, StandardCharsets.UTF_8);
      var config = HuggingFaceConfig.read(file);
      assertEquals(TinyLlama.LLAMA_3_1, config.ropeScaling());
      assertEquals(500000.0, config.ropeTheta());
      assertEquals(json.equals(old) ? List.of(5, 6) : List.of(5), config.eosTokens());
      Files.write(file, HuggingFaceConfig.write(config, StoredType.BF16));
      assertEquals(config, HuggingFaceConfig.read(file));
      assertEquals(4, config.kvHeads());
      assertEquals(8, config.headSize());
      assertEquals(1e-6, config.normEps());
    }
    Files.writeString(
        folder.resolve("generation_config.json"),
        "{\"eos_token_id\": [7, 5]}",
        StandardCharsets.UTF_8);
    assertEquals(List.of(5, 7), HuggingFaceConfig.read(file).eosTokens());
  }

  static List<String> files(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(f -> f.getFileName().toString()).sorted().toList();
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  static float[] read(Checkpoint checkpoint, String name) {
    float[] values = new float[(int) TinyLlama.product(checkpoint.stored(name).shape())];
    checkpoint.read(name, 0, MemorySegment.ofArray(values));
    return values;
  }

  /** The nearest of what {@code type} can hold, found by its definition from the encoded bytes. */
  private static float[] rounded(StoredType type, float[] exact) {
    ByteBuffer bytes =
        ByteBuffer.allocate((int) type.bytes(exact.length)).order(ByteOrder.LITTLE_ENDIAN);
    type.encode(exact, exact.length, bytes);
    float[] rounded = new float[exact.length];
    for (int i = 0; i < exact.length; i++) {
      rounded[i] = (float) StoredTypeTest.element(type, bytes, i);
      double step =
          switch (type) {
            case F32 -> 0;
            case F16 -> Math.max(Math.abs(exact[i]) / 1024, Math.pow(2, -24));
            case BF16 -> Math.abs(exact[i]) / 128;
            default -> 4.0 / 127; // blocks of Gaussians: the largest is below 4 or so
          };
      assertEquals(exact[i], rounded[i], step / 2 * 1.2, type + " of " + exact[i]);
    }
    return rounded;
  }
}
