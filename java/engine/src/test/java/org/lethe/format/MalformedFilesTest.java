package org.lethe.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.lethe.model.LlamaConfig;

/**
 * Broken models, each built from a whole one by one change: refused with one line that says what is
 * wrong, at once, in little memory.
 */
final class MalformedFilesTest {
  /** What a refusal may allocate, some of it for parsing what is sound. */
  private static final long BYTES = 8_000_000;

  private static final double SECONDS = 2;

  @TempDir Path folder;

  /** A name, a broken model, and what is said of it after the path of {@code file}. */
  record Case(String name, Maker maker, String file, String message) {
    @Override
    public String toString() {
      return name;
    }
  }

  @FunctionalInterface
  interface Maker {
    Path make(Path folder) throws IOException;
  }

  @BeforeAll
  static void warm() {
    assertThrows(ModelFormatException.class, () -> Checkpoint.open(Path.of("no/such/model")));
  }

  @Test
  void theUnbrokenModelsOpen() throws IOException {
    LlamaConfig config = new LlamaConfig(5, 4, 6, 1, 2, 1, 2, 16, 1e-6, 1e4, null, true, 1, 2);
    for (Path model : List.of(new Directory().write(folder), new GgufFile().write(folder))) {
      try (Checkpoint checkpoint = Checkpoint.open(model)) {
        assertEquals(config, checkpoint.config());
      }
    }
  }

  @Test
  void whatAddsNothingIsIgnored() throws IOException {
    Directory directory = new Directory();
    directory.tensor("model.layers.0.self_attn.rotary_emb.inv_freq", 1);
    directory.tensor("lm_head.weight", 5, 4);
    GgufFile gguf = new GgufFile();
    gguf.tensor("blk.0.attn_rot_embd.weight", 1);
    for (Path model : List.of(directory.write(folder), gguf.write(folder))) {
      try (Checkpoint checkpoint = Checkpoint.open(model)) {
        assertEquals(11, checkpoint.tensors().size());
      }
    }
  }

  @ParameterizedTest
  @MethodSource({"configurations", "safetensors", "shards", "ggufs"})
  void isRefused(Case broken) throws IOException {
    Path model = broken.maker().make(folder);
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long allocated = threads.getCurrentThreadAllocatedBytes();
    long start = System.nanoTime();
    String message =
        String.valueOf(
            assertThrows(ModelFormatException.class, () -> Checkpoint.open(model).close())
                .getMessage());
    double seconds = (System.nanoTime() - start) * 1e-9;
    allocated = threads.getCurrentThreadAllocatedBytes() - allocated;
    Path file = broken.file().isEmpty() ? model : model.resolve(broken.file());
    assertEquals(file + ": " + broken.message(), message);
    assertFalse(message.contains("\n"), message);
    assertTrue(allocated < BYTES, "allocated " + allocated + " bytes");
    assertTrue(seconds < SECONDS, "took " + seconds + " s");
  }

  // ---- config.json

  private static Case config(String name, String from, String to, String message) {
    Maker maker =
        folder -> {
          Directory directory = new Directory();
          assertTrue(directory.config.contains(from), from);
          directory.config = directory.config.replace(from, to);
          return directory.write(folder);
        };
    return new Case("config: " + name, maker, "config.json", message);
  }

  static Stream<Case> configurations() {
    String open = "\"LlamaForCausalLM\"]";
    return Stream.of(
        config(
            "another architecture",
            "LlamaForCausalLM",
            "MistralForCausalLM",
            "architecture is MistralForCausalLM; LlamaForCausalLM is read"),
        config(
            "no architecture",
            "[\"LlamaForCausalLM\"]",
            "[]",
            "names no architecture and model_type \"gpt2\"; LlamaForCausalLM is read"),
        config("a size is missing", "\"hidden_size\": 4,", "", "lacks 'hidden_size'"),
        config(
            "a size is text",
            "\"hidden_size\": 4,",
            "\"hidden_size\": \"4\",",
            "hidden_size is \"4\", must be a whole number"),
        config(
            "a size is a fraction",
            "\"hidden_size\": 4,",
            "\"hidden_size\": 4.5,",
            "hidden_size is 4.5, must be a whole number"),
        config(
            "a size beyond 32 bits",
            "\"hidden_size\": 4,",
            "\"hidden_size\": 4294967300,",
            "hidden_size is 4294967300, must be a whole number"),
        config(
            "an absurd vocabulary",
            "\"vocab_size\": 5,",
            "\"vocab_size\": 2000000000,",
            "vocab_size is 2000000000, must be 1 to 16777216"),
        config(
            "negative layers",
            "\"num_hidden_layers\": 1,",
            "\"num_hidden_layers\": -1,",
            "num_hidden_layers is -1, must be 1 to 4096"),
        config(
            "no heads",
            "\"num_attention_heads\": 2,",
            "\"num_attention_heads\": 0,",
            "num_attention_heads is 0, must be 1 to 65536"),
        config(
            "heads that do not group",
            "\"num_attention_heads\": 2, \"num_key_value_heads\": 1,",
            "\"num_attention_heads\": 3, \"num_key_value_heads\": 2, \"head_dim\": 2,",
            "num_attention_heads 3 is no multiple of num_key_value_heads 2"),
        config(
            "a number beyond double",
            "\"rms_norm_eps\": 1e-6",
            "\"rms_norm_eps\": 1e999",
            "rms_norm_eps Infinity is not in (0, 1)"),
        config(
            "biases",
            open,
            open + ", \"attention_bias\": true",
            "attention_bias is true; Llamas without biases are read"),
        config(
            "another activation",
            open,
            open + ", \"hidden_act\": \"gelu\"",
            "hidden_act is gelu; silu is read"),
        config(
            "another scaling",
            open,
            open + ", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2.0}",
            "rope_scaling is of type yarn; llama3 is read"),
        config(
            "Llama 3's scaling without its factor",
            open,
            open
                + ", \"rope_parameters\": {\"rope_type\": \"llama3\","
                + " \"original_max_position_embeddings\": 8}",
            "rope_scaling: factor NaN, low_freq_factor NaN, high_freq_factor NaN,"
                + " original_max_position_embeddings 8"),
        config(
            "quantised weights",
            open,
            open + ", \"quantization_config\": {\"bits\": 4}",
            "has a quantization_config; plain F32, F16 and BF16 weights are read"),
        config(
            "a key twice",
            open,
            open + ", \"vocab_size\": 5",
            "is not valid JSON at line 2, column 14: Duplicate Object property \"vocab_size\""),
        config(
            "deep nesting",
            open,
            open + ", \"x\": " + "[".repeat(100_000),
            "is not valid JSON: Document nesting depth (65) exceeds the"
                + " maximum allowed (64, from `StreamReadConstraints.getMaxNestingDepth()`)"),
        new Case(
            "config: no object",
            folder -> {
              Directory directory = new Directory();
              directory.config = "[1, 2]";
              return directory.write(folder);
            },
            "config.json",
            "holds no JSON object"),
        new Case(
            "config: not UTF-8",
            folder -> {
              Path model = new Directory().write(folder);
              Files.write(model.resolve("config.json"), new byte[] {'{', '"', (byte) 0xff, '"'});
              return model;
            },
            "config.json",
            "is not UTF-8"),
        new Case(
            "config: missing",
            folder -> {
              Path model = new Directory().write(folder);
              Files.delete(model.resolve("config.json"));
              return model;
            },
            "config.json",
            "does not exist"));
  }

  // ---- model.safetensors

  private static Case safetensors(String name, Consumer<Directory> change, String message) {
    Maker maker =
        folder -> {
          Directory directory = new Directory();
          change.accept(directory);
          return directory.write(folder);
        };
    return new Case("safetensors: " + name, maker, "model.safetensors", message);
  }

  private static Case header(String name, String from, String to, String message) {
    return safetensors(
        name,
        d -> {
          String header = d.header();
          assertTrue(header.contains(from), header);
          d.headerOverride = header.replace(from, to);
        },
        message);
  }

  static Stream<Case> safetensors() {
    String embedding = "\"model.embed_tokens.weight\":{\"dtype\":\"F32\",\"shape\":[5,4],";
    return Stream.of(
        new Case(
            "safetensors: missing",
            folder -> {
              Path model = new Directory().write(folder);
              Files.delete(model.resolve("model.safetensors"));
              return model;
            },
            "",
            "holds neither model.safetensors nor model.safetensors.index.json"),
        safetensors("empty", d -> d.cut = 0, "is truncated: it has 0 bytes"),
        safetensors(
            "cut in the header",
            d -> d.cut = 100,
            "is truncated: it says its header has 1007 bytes, 92 follow"),
        safetensors(
            "cut in the data",
            d -> d.cut = -1,
            "tensor 'model.norm.weight' has data_offsets 592 to 608 in 607 bytes of data"),
        safetensors(
            "a header length that lies by a bit",
            d -> d.lengthOverride = 1L << 62,
            "is no safetensors file: it says its header has 4611686018427387904 bytes, which must be"
                + " 2 to 100000000"),
        safetensors(
            "a header length that is negative",
            d -> d.lengthOverride = -1,
            "is no safetensors file: it says its header has 18446744073709551615 bytes, which must"
                + " be 2 to 100000000"),
        safetensors(
            "a header length that includes the data",
            d -> d.lengthOverride = 1007 + 608,
            "tensor 'model.embed_tokens.weight' has data_offsets 0 to 80 in 0 bytes of data"),
        safetensors(
            "a header of 90 MB in a sparse file",
            d -> {
              d.lengthOverride = 90_000_000;
              d.size = 200_000_000;
            },
            "is not valid JSON at line 1, column 1008: Illegal character ((CTRL-CHAR, code 0)): only"
                + " regular white space (\\r, \\n, \\t) is allowed between tokens"),
        safetensors(
            "no JSON",
            d -> d.headerOverride = "PK",
            "is no safetensors file: its header is no JSON object"),
        safetensors(
            "two JSON objects",
            d -> d.headerOverride = d.header() + "{}",
            "has more in its header than one JSON object"),
        safetensors(
            "not UTF-8", d -> d.charset = StandardCharsets.ISO_8859_1.name(), "is not UTF-8"),
        safetensors(
            "a tensor twice",
            d -> d.tensor("model.norm.weight", 4),
            "is not valid JSON at line 1, column 1027: Duplicate Object property"
                + " \"model.norm.weight\""),
        header(
            "deep nesting",
            embedding,
            "\"x\":{\"y\":" + "[".repeat(1000) + "]".repeat(1000) + "}," + embedding,
            "is not valid JSON: Document nesting depth (65) exceeds the maximum"
                + " allowed (64, from `StreamReadConstraints.getMaxNestingDepth()`)"),
        header(
            "an overlap",
            "[80,96]",
            "[76,92]",
            "tensor 'model.layers.0.input_layernorm.weight' overlaps another"),
        header(
            "a hole",
            "\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[592,608]}",
            "\"model.norm.weight\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[600,608]}",
            "has 8 bytes that are no tensor's before 'model.norm.weight'"),
        safetensors(
            "more data than tensors",
            d -> d.size = d.whole() + 3,
            "has 3 bytes that are no tensor's at its end"),
        header(
            "an offset beyond the file",
            "[0,80]",
            "[0,8000000000000]",
            "tensor 'model.embed_tokens.weight' has data_offsets 0 to 8000000000000 in 608 bytes of"
                + " data"),
        header(
            "offsets in the wrong order",
            "[0,80]",
            "[80,0]",
            "tensor 'model.embed_tokens.weight' has data_offsets 80 to 0 in 608 bytes of data"),
        header(
            "a negative offset",
            "[0,80]",
            "[-80,0]",
            "tensor 'model.embed_tokens.weight' has a data_offsets that is no list of at most 8"
                + " sizes"),
        header(
            "an offset beyond 64 bits",
            "[0,80]",
            "[0,18446744073709551616]",
            "tensor 'model.embed_tokens.weight' has a data_offsets that is no list of at most 8"
                + " sizes"),
        header(
            "a shape whose product overflows to what fits",
            "\"shape\":[5,4]",
            "\"shape\":[4611686018427387909,4]",
            "tensor 'model.embed_tokens.weight' is impossibly large: (4611686018427387909, 4)"),
        header(
            "a shape that is not the data's",
            "\"shape\":[5,4]",
            "\"shape\":[5,5]",
            "tensor 'model.embed_tokens.weight' is F32 (5, 5), 100 bytes, its data_offsets hold 80"),
        header(
            "too many dimensions",
            "\"shape\":[5,4]",
            "\"shape\":[5,4,1,1,1,1,1,1,1]",
            "tensor 'model.embed_tokens.weight' has a shape that is no list of at most 8 sizes"),
        header(
            "a transposed tensor",
            "\"shape\":[5,4]",
            "\"shape\":[4,5]",
            "tensor 'model.embed_tokens.weight' is (4, 5), config.json says (5, 4)"),
        header(
            "no shape",
            "\"shape\":[5,4],",
            "",
            "tensor 'model.embed_tokens.weight' lacks its dtype, shape or two data_offsets"),
        header(
            "a tensor that is a number",
            embedding,
            "\"x\":1," + embedding,
            "tensor 'x' has no description"),
        header(
            "an unknown type",
            "\"dtype\":\"F32\",\"shape\":[5,4]",
            "\"dtype\":\"F4\",\"shape\":[5,4]",
            "tensor 'model.embed_tokens.weight' is stored as unknown type F4"),
        header(
            "a type that is not read",
            "\"dtype\":\"F32\",\"shape\":[5,4]",
            "\"dtype\":\"I32\",\"shape\":[5,4]",
            "tensor 'model.embed_tokens.weight' is stored as I32; F32, F16 and BF16 are read"),
        safetensors(
            "a bias",
            d -> d.tensor("model.layers.0.self_attn.q_proj.bias", 4),
            "tensor 'model.layers.0.self_attn.q_proj.bias' has no place in the Llama of"
                + " config.json"),
        header(
            "a name that breaks the line",
            embedding,
            "\"x\\ny\":1," + embedding,
            "tensor 'x?y' has no description"),
        new Case(
            "safetensors: a missing tensor",
            folder -> {
              Directory directory = new Directory();
              directory.config = directory.config.replace("\"tie_word_embeddings\": true,", "");
              return directory.write(folder);
            },
            "",
            "tensor 'lm_head.weight' is missing"),
        new Case(
            "safetensors: opened as a file",
            folder -> new Directory().write(folder).resolve("model.safetensors"),
            "",
            "is one file of a model; give the folder that it lies in"));
  }

  // ---- shards

  private static Case shards(String name, String weightMap, String file, String message) {
    Maker maker =
        folder -> {
          Path model = new Directory().write(folder);
          Files.move(model.resolve("model.safetensors"), model.resolve("a.safetensors"));
          Files.copy(model.resolve("a.safetensors"), folder.resolve("outside.safetensors"));
          Files.writeString(
              model.resolve("model.safetensors.index.json"),
              "{\"metadata\":{},\"weight_map\":{" + weightMap + "}}");
          return model;
        };
    return new Case("shards: " + name, maker, file, message);
  }

  static Stream<Case> shards() {
    String index = "model.safetensors.index.json";
    String norm = "\"model.norm.weight\":";
    return Stream.of(
        shards("an empty index", "", index, "lists no tensors in 'weight_map'"),
        shards("a missing shard", norm + "\"b.safetensors\"", "b.safetensors", "does not exist"),
        shards(
            "a path that climbs out",
            norm + "\"../outside.safetensors\"",
            index,
            "tensor 'model.norm.weight' lies in \"../outside.safetensors\", which is no file of this"
                + " folder"),
        shards(
            "an absolute path",
            norm + "\"/etc/passwd\"",
            index,
            "tensor 'model.norm.weight' lies in \"/etc/passwd\", which is no file of this folder"),
        shards(
            "the folder above",
            norm + "\"..\"",
            index,
            "tensor 'model.norm.weight' lies in \"..\", which is no file of this folder"),
        shards(
            "a shard that is a number",
            norm + "1",
            index,
            "tensor 'model.norm.weight' lies in 1, which is no file of this folder"),
        shards(
            "a shard without its tensor",
            "\"x\":\"a.safetensors\"",
            "a.safetensors",
            "lacks tensor 'x', which model.safetensors.index.json places there"),
        new Case(
            "shards: a tensor in two",
            folder -> {
              String map = norm + "\"a.safetensors\",\"x\":\"b.safetensors\"";
              Path model = shards("", map, "", "").maker().make(folder);
              Files.copy(model.resolve("a.safetensors"), model.resolve("b.safetensors"));
              return model;
            },
            "b.safetensors",
            "tensor 'model.embed_tokens.weight' lies in a.safetensors as well"));
  }

  // ---- GGUF

  private static Case gguf(String name, Consumer<GgufFile> change, String message) {
    Maker maker =
        folder -> {
          GgufFile file = new GgufFile();
          change.accept(file);
          return file.write(folder);
        };
    return new Case("gguf: " + name, maker, "", message);
  }

  static Stream<Case> ggufs() {
    return Stream.of(
        new Case("gguf: missing", f -> f.resolve("no.gguf"), "", "does not exist"),
        gguf("empty", g -> g.cut = 0, "is no GGUF file: it does not begin with GGUF"),
        gguf("another magic", g -> g.magic = 7, "is no GGUF file: it does not begin with GGUF"),
        gguf("cut at once", g -> g.cut = 10, "is truncated: it ends inside its first 24 bytes"),
        gguf("version 1", g -> g.version = 1, "is GGUF version 1; 2 and 3 are read"),
        gguf(
            "a version to come",
            g -> g.version = 0x80000000,
            "is GGUF version 2147483648; 2 and 3 are read"),
        gguf(
            "big-endian",
            g -> g.version = 3 << 24,
            "is a big-endian GGUF; little-endian ones are read"),
        gguf(
            "a tensor count that lies",
            g -> g.tensorCount = 1L << 60,
            "says it has 1152921504606846976 tensors, which do not fit into its 1792 bytes"),
        gguf(
            "a key count that lies",
            g -> g.keyCount = -1,
            "says it has 18446744073709551615 metadata keys, which do not fit into its 1792 bytes"),
        gguf(
            "cut in the header",
            g -> g.cut = 1000,
            "is truncated: it ends inside the entry of tensor 'blk.0.ffn_up.weight'"),
        gguf(
            "a long name",
            g -> g.key("k".repeat(70_000), 4, w -> w.int32(1)),
            "the name of metadata key 11 is 70000 bytes long, at most 65535 are read"),
        gguf(
            "a string length that lies",
            g -> g.key("x", 8, w -> w.int64(1L << 40)),
            "the value of 'x' is 1099511627776 bytes long, at most 100000000 are read"),
        gguf(
            "a string longer than the file",
            g -> g.key("x", 8, w -> w.int64(90_000_000)),
            "is truncated: it ends inside the value of 'x'"),
        gguf(
            "text that is not UTF-8",
            g -> g.key("x", 8, w -> w.int64(1).int8(0xff)),
            "the value of 'x' is not UTF-8"),
        gguf(
            "an array count that lies",
            g -> g.key("x", 9, w -> w.int32(8).int64(1_000_000)),
            "says it has 1000000 elements of 'x', which do not fit into its 1824 bytes"),
        gguf(
            "an array count beyond 63 bits",
            g -> g.key("x", 9, w -> w.int32(4).int64(-1)),
            "says it has 18446744073709551615 elements of 'x', which do not fit into its 1824 bytes"),
        gguf(
            "arrays in arrays",
            g ->
                g.key(
                    "x",
                    9,
                    w -> {
                      for (int i = 0; i < 20; i++) {
                        w.int32(9).int64(1);
                      }
                    }),
            "'x' nests arrays deeper than 4"),
        gguf(
            "a value of unknown kind",
            g -> g.key("x", 13, w -> w.int32(1)),
            "'x' has a value of unknown kind 13"),
        gguf(
            "a key twice",
            g -> g.key("llama.vocab_size", 4, w -> w.int32(5)),
            "metadata key 'llama.vocab_size' comes twice"),
        gguf(
            "an alignment of 0",
            g -> g.key("general.alignment", 4, w -> w.int32(0)),
            "general.alignment is 0, must be a power of two up to 1048576"),
        gguf(
            "a header in a sparse file of 4 GB",
            g -> {
              g.tensors.clear();
              g.keyCount = 100_000;
              g.size = 4_000_000_000L;
            },
            "metadata key '' comes twice"),
        gguf(
            "another architecture",
            g -> g.replace("general.architecture", 8, w -> w.string("gpt2")),
            "architecture is gpt2; llama is read"),
        gguf(
            "experts",
            g -> g.key("llama.expert_count", 4, w -> w.int32(8)),
            "is a mixture of experts; plain Llamas are read"),
        gguf(
            "a missing size",
            g -> g.keys.removeIf(k -> k.name().equals("llama.embedding_length")),
            "metadata lacks 'llama.embedding_length'"),
        gguf(
            "a size that is text",
            g -> g.replace("llama.embedding_length", 8, w -> w.string("4")),
            "'llama.embedding_length' is no whole number"),
        gguf(
            "absurd layers",
            g -> g.replace("llama.block_count", 4, w -> w.int32(-1)),
            "num_hidden_layers is 2147483647, must be 1 to 4096"),
        gguf(
            "another rotary size",
            g -> g.key("llama.rope.dimension_count", 4, w -> w.int32(4)),
            "llama.rope.dimension_count is 4, must be the size of a head, 2"),
        gguf(
            "another scaling",
            g -> g.key("llama.rope.scaling.type", 8, w -> w.string("yarn")),
            "llama.rope.scaling.type is yarn; none and Llama 3's are read"),
        gguf(
            "rotary factors that are not Llama 3's",
            g -> g.tensor("rope_freqs.weight", 1), // zeros
            "tensor 'rope_freqs.weight' is not Llama 3's scaling: element 0 is 0.0, should be 1.0"),
        gguf(
            "a missing tensor",
            g -> g.tensors.removeLast(),
            "tensor 'output_norm.weight' is missing"),
        gguf(
            "a tensor twice",
            g -> g.tensor("output_norm.weight", 4),
            "tensor 'output_norm.weight' comes twice"),
        gguf(
            "a bias",
            g -> g.tensor("blk.0.attn_q.bias", 4),
            "tensor 'blk.0.attn_q.bias' has no place in a Llama of this configuration"),
        gguf(
            "another shape",
            g -> g.tensors.getFirst().dimensions = new long[] {5, 4},
            "tensor 'token_embd.weight' is (4, 5), its metadata says (5, 4)"),
        gguf(
            "a shape whose product overflows",
            g -> g.tensors.getFirst().dimensions = new long[] {1L << 40, 1L << 40},
            "tensor 'token_embd.weight' has an impossible shape: dimension 1 is 1099511627776"),
        gguf(
            "an empty dimension",
            g -> g.tensors.getFirst().dimensions = new long[] {0, 4},
            "tensor 'token_embd.weight' has an impossible shape: dimension 0 is 0"),
        gguf(
            "too many dimensions",
            g -> g.tensors.getFirst().dimensions = new long[] {4, 5, 1, 1, 1},
            "tensor 'token_embd.weight' has 5 dimensions, must have 1 to 4"),
        gguf(
            "an unsupported quantisation",
            g -> g.tensors.getFirst().type = 14,
            "tensor 'token_embd.weight' is stored as Q6_K; F32, F16, BF16, Q8_0, Q4_0, Q4_1 are"
                + " read"),
        gguf(
            "an unknown quantisation",
            g -> g.tensors.getFirst().type = 999,
            "tensor 'token_embd.weight' is stored as unknown type 999; F32, F16, BF16, Q8_0, Q4_0,"
                + " Q4_1 are read"),
        gguf(
            "rows that are no whole blocks",
            g -> g.tensors.getFirst().type = 8,
            "tensor 'token_embd.weight' is Q8_0 with rows of 4 elements, no multiple of 32"),
        gguf(
            "an offset out of line",
            g -> g.tensors.getFirst().offset = 4,
            "tensor 'token_embd.weight' has offset 4, must be a multiple of 32"),
        gguf(
            "an offset beyond 63 bits",
            g -> g.tensors.getFirst().offset = -32,
            "tensor 'token_embd.weight' has offset 18446744073709551584, must be a multiple of 32"),
        gguf(
            "an offset beyond the file",
            g -> g.tensors.getFirst().offset = Long.MAX_VALUE / 32 * 32,
            "tensor 'token_embd.weight' ends beyond the file: offset 9223372036854775776, 80 bytes,"
                + " 672 bytes of tensors in the file"),
        gguf(
            "cut in the tensors",
            g -> g.cut = -32,
            "tensor 'output_norm.weight' ends beyond the file: offset 640, 16 bytes, 640 bytes of"
                + " tensors in the file"),
        gguf(
            "an overlap",
            g -> g.tensors.get(1).offset = 64,
            "tensors 'token_embd.weight' and 'blk.0.attn_norm.weight' overlap"));
  }

  // ---- whole models, to be broken

  /** A Hugging Face directory with zeros for weights. */
  private static final class Directory {
    String config =
        """
        {"architectures": ["LlamaForCausalLM"], "model_type": "gpt2",
         "vocab_size": 5, "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
         "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16,
         "tie_word_embeddings": true,
         "rms_norm_eps": 1e-6}
        """;
    private final List<String> entries = new ArrayList<>();
    private int dataBytes;
    String headerOverride = "";
    String charset = StandardCharsets.UTF_8.name();
    long lengthOverride;
    long size;
    int cut = Integer.MAX_VALUE;

    Directory() {
      TinyLlama.shapes(new LlamaConfig(5, 4, 6, 1, 2, 1, 2, 16, 1e-6, 1e4, null, true, 1, 2))
          .forEach(this::tensor);
    }

    void tensor(String name, long... shape) {
      int end = dataBytes + 4 * (int) TinyLlama.product(shape);
      entries.add(
          "\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
              .formatted(name, Arrays.toString(shape).replace(" ", ""), dataBytes, end));
      dataBytes = end;
    }

    String header() {
      return entries.stream().collect(Collectors.joining(",", "{", "}"));
    }

    long whole() {
      return 8L + header().length() + dataBytes;
    }

    Path write(Path folder) throws IOException {
      Path model = Files.createDirectory(folder.resolve("model"));
      Files.writeString(model.resolve("config.json"), config);
      String text = headerOverride.isEmpty() ? header() : headerOverride;
      byte[] header =
          charset.equals("UTF-8")
              ? text.getBytes(StandardCharsets.UTF_8)
              : text.replace("norm", "n\u00f6rm").getBytes(StandardCharsets.ISO_8859_1);
      ByteBuffer bytes =
          ByteBuffer.allocate(8 + header.length + dataBytes)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putLong(lengthOverride == 0 ? header.length : lengthOverride)
              .put(header);
      store(model.resolve("model.safetensors"), bytes.array(), cut, size);
      return model;
    }
  }

  /** Writes the first {@code cut} bytes (all but some of them where it is negative). */
  private static Path store(Path file, byte[] bytes, int cut, long size) throws IOException {
    int length = cut < 0 ? bytes.length + cut : Math.min(cut, bytes.length);
    Files.write(file, Arrays.copyOf(bytes, length));
    if (size > 0) {
      try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
        sparse.setLength(size);
      }
    }
    return file;
  }

  /** Little-endian bytes. */
  private static final class Bytes {
    final ByteArrayOutputStream out = new ByteArrayOutputStream();

    Bytes int8(int n) {
      out.write(n);
      return this;
    }

    Bytes int32(int n) {
      return int8(n).int8(n >> 8).int8(n >> 16).int8(n >> 24);
    }

    Bytes int64(long n) {
      return int32((int) n).int32((int) (n >> 32));
    }

    Bytes string(String s) {
      byte[] utf8 = s.getBytes(StandardCharsets.UTF_8);
      int64(utf8.length).out.writeBytes(utf8);
      return this;
    }
  }

  private record Key(String name, int kind, Consumer<Bytes> value) {}

  private static final class GgufTensor {
    final String name;
    long[] dimensions;
    int type;
    long offset;

    GgufTensor(String name, long[] dimensions, long offset) {
      this.name = name;
      this.dimensions = dimensions;
      this.offset = offset;
    }
  }

  /** A GGUF file with zeros for weights. */
  private static final class GgufFile {
    int magic = 0x46554747;
    int version = 3;
    long tensorCount;
    long keyCount;
    final List<Key> keys = new ArrayList<>();
    final List<GgufTensor> tensors = new ArrayList<>();
    private int dataBytes;
    long size;
    int cut = Integer.MAX_VALUE;

    GgufFile() {
      key("general.architecture", 8, w -> w.string("llama"));
      key("llama.vocab_size", 4, w -> w.int32(5));
      key("llama.embedding_length", 4, w -> w.int32(4));
      key("llama.feed_forward_length", 4, w -> w.int32(6));
      key("llama.block_count", 4, w -> w.int32(1));
      key("llama.attention.head_count", 4, w -> w.int32(2));
      key("llama.attention.head_count_kv", 4, w -> w.int32(1));
      key("llama.context_length", 4, w -> w.int32(16));
      key(
          "llama.attention.layer_norm_rms_epsilon",
          6,
          w -> w.int32(Float.floatToRawIntBits(1e-6f)));
      key("tokenizer.ggml.bos_token_id", 4, w -> w.int32(1));
      key("tokenizer.ggml.eos_token_id", 4, w -> w.int32(2));
      tensor("token_embd.weight", 4, 5);
      tensor("blk.0.attn_norm.weight", 4);
      tensor("blk.0.attn_q.weight", 4, 4);
      tensor("blk.0.attn_k.weight", 4, 2);
      tensor("blk.0.attn_v.weight", 4, 2);
      tensor("blk.0.attn_output.weight", 4, 4);
      tensor("blk.0.ffn_norm.weight", 4);
      tensor("blk.0.ffn_gate.weight", 4, 6);
      tensor("blk.0.ffn_up.weight", 4, 6);
      tensor("blk.0.ffn_down.weight", 6, 4);
      tensor("output_norm.weight", 4);
    }

    void key(String name, int kind, Consumer<Bytes> value) {
      keys.add(new Key(name, kind, value));
    }

    void replace(String name, int kind, Consumer<Bytes> value) {
      keys.replaceAll(k -> k.name().equals(name) ? new Key(name, kind, value) : k);
    }

    void tensor(String name, long... dimensions) {
      tensors.add(new GgufTensor(name, dimensions, dataBytes));
      dataBytes += (4 * (int) TinyLlama.product(dimensions) + 31) / 32 * 32;
    }

    Path write(Path folder) throws IOException {
      Bytes w = new Bytes();
      w.int32(magic).int32(version);
      w.int64(tensorCount == 0 ? tensors.size() : tensorCount);
      w.int64(keyCount == 0 ? keys.size() : keyCount);
      for (Key key : keys) {
        w.string(key.name()).int32(key.kind());
        key.value().accept(w);
      }
      for (GgufTensor tensor : tensors) {
        w.string(tensor.name).int32(tensor.dimensions.length);
        for (long extent : tensor.dimensions) {
          w.int64(extent);
        }
        w.int32(tensor.type).int64(tensor.offset);
      }
      while (w.out.size() % 32 != 0) {
        w.int8(0);
      }
      w.out.writeBytes(new byte[dataBytes]);
      return store(folder.resolve("model.gguf"), w.out.toByteArray(), cut, size);
    }
  }
}
