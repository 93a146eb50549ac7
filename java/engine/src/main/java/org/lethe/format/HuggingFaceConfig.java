package org.lethe.format;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.lethe.model.LlamaConfig;
import org.lethe.model.LlamaConfig.RopeScaling;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * {@code config.json} of a LlamaForCausalLM, in the spelling of transformers 4 ({@code rope_theta},
 * {@code rope_scaling}, {@code torch_dtype}) and of transformers 5 ({@code rope_parameters}, {@code
 * dtype}). What it leaves out has the default of transformers; unknown keys are ignored.
 */
final class HuggingFaceConfig {
  private static final String ARCHITECTURE = "LlamaForCausalLM";

  private final Path file;
  private final ObjectNode json;

  private HuggingFaceConfig(Path file, ObjectNode json) {
    this.file = file;
    this.json = json;
  }

  static LlamaConfig read(Path file) {
    ObjectNode json = Json.read(file);
    try {
      return new HuggingFaceConfig(file, json).config();
    } catch (IllegalArgumentException | JacksonException e) { // a number that cannot be
      throw new ModelFormatException(file, String.valueOf(e.getMessage()), e);
    }
  }

  private LlamaConfig config() {
    refuseOtherModels();
    int width = integer(json, "hidden_size");
    int heads = integer(json, "num_attention_heads");
    JsonNode rope = rope();
    double theta = real(rope, "rope_theta", real(json, "rope_theta", 10_000));
    return new LlamaConfig(
        integer(json, "vocab_size"),
        width,
        integer(json, "intermediate_size"),
        integer(json, "num_hidden_layers"),
        heads,
        integer(json, "num_key_value_heads", heads),
        integer(json, "head_dim", heads > 0 ? width / heads : 0),
        integer(json, "max_position_embeddings", 2048),
        real(json, "rms_norm_eps", 1e-6),
        theta,
        ropeScaling(rope),
        flag("tie_word_embeddings"),
        integer(json, "bos_token_id", 1),
        eosTokens());
  }

  private void refuseOtherModels() {
    JsonNode architectures = json.path("architectures");
    if (architectures instanceof ArrayNode list && !list.isEmpty()) {
      String name = list.get(0).asString("");
      if (list.size() != 1 || !name.equals(ARCHITECTURE)) {
        throw problem("architecture is %s; %s is read".formatted(name, ARCHITECTURE));
      }
    } else if (!json.path("model_type").asString("").equals("llama")) {
      throw problem(
          "names no architecture and model_type %s; %s is read"
              .formatted(json.path("model_type"), ARCHITECTURE));
    }
    for (String bias : new String[] {"attention_bias", "mlp_bias"}) {
      if (flag(bias)) {
        throw problem(bias + " is true; Llamas without biases are read");
      }
    }
    String activation = json.path("hidden_act").asString("silu");
    if (!activation.equals("silu")) {
      throw problem("hidden_act is %s; silu is read".formatted(activation));
    }
    if (present(json, "quantization_config")) {
      throw problem("has a quantization_config; plain F32, F16 and BF16 weights are read");
    }
  }

  /** Where the rotary embedding is described: the older spelling first, as transformers has it. */
  private JsonNode rope() {
    for (String key : new String[] {"rope_scaling", "rope_parameters"}) {
      if (present(json, key) && !json.path(key).isObject()) {
        throw problem("%s is %s, must be an object".formatted(key, json.path(key)));
      }
      if (!json.path(key).isEmpty()) {
        return json.path(key);
      }
    }
    return json.path("rope_scaling");
  }

  private @Nullable RopeScaling ropeScaling(JsonNode rope) {
    String type = rope.path("rope_type").asString(rope.path("type").asString("default"));
    if (real(rope, "partial_rotary_factor", real(json, "partial_rotary_factor", 1)) != 1) {
      throw problem("partial_rotary_factor is not 1");
    }
    return switch (type) {
      case "default" -> null;
      case "llama3" ->
          new RopeScaling(
              real(rope, "factor", Double.NaN),
              real(rope, "low_freq_factor", Double.NaN),
              real(rope, "high_freq_factor", Double.NaN),
              integer(rope, "original_max_position_embeddings"));
      default -> throw problem("rope_scaling is of type %s; llama3 is read".formatted(type));
    };
  }

  /** Those of config.json, then those that generation_config.json adds, as chat models do. */
  private List<Integer> eosTokens() {
    var tokens = new LinkedHashSet<Integer>();
    addEosTokens(json, tokens);
    if (tokens.isEmpty()) {
      tokens.add(2);
    }
    Path generation = file.resolveSibling("generation_config.json");
    if (Files.exists(generation)) {
      addEosTokens(Json.read(generation), tokens);
    }
    return List.copyOf(tokens);
  }

  private void addEosTokens(JsonNode in, Set<Integer> tokens) {
    JsonNode node = in.path("eos_token_id");
    if (node instanceof ArrayNode list) {
      list.forEach(token -> tokens.add(whole(token, "eos_token_id")));
    } else if (present(in, "eos_token_id")) {
      tokens.add(whole(node, "eos_token_id"));
    }
  }

  private boolean flag(String key) {
    JsonNode node = json.path(key);
    if (present(json, key) && !node.isBoolean()) {
      throw problem("%s is %s, must be true or false".formatted(key, node));
    }
    return node.asBoolean(false);
  }

  private static boolean present(JsonNode in, String key) {
    return in.hasNonNull(key);
  }

  private int integer(JsonNode in, String key, int otherwise) {
    return present(in, key) ? integer(in, key) : otherwise;
  }

  private int integer(JsonNode in, String key) {
    if (!present(in, key)) {
      throw problem("lacks '" + key + "'");
    }
    return whole(in.path(key), key);
  }

  private int whole(JsonNode node, String key) {
    if (!node.isIntegralNumber() || !node.canConvertToInt()) {
      throw problem("%s is %s, must be a whole number".formatted(key, node));
    }
    return node.intValue();
  }

  private double real(JsonNode in, String key, double otherwise) {
    if (!present(in, key)) {
      return otherwise;
    }
    if (!in.path(key).isNumber()) {
      throw problem("%s is %s, must be a number".formatted(key, in.path(key)));
    }
    return in.path(key).doubleValue();
  }

  private ModelFormatException problem(String what) {
    return new ModelFormatException(file, what);
  }

  /** {@code config.json} of {@code config}, in both spellings. */
  static byte[] write(LlamaConfig config, StoredType type) {
    ObjectNode json = Json.MAPPER.createObjectNode();
    json.putArray("architectures").add(ARCHITECTURE);
    json.put("model_type", "llama");
    json.put("vocab_size", config.vocabulary());
    json.put("hidden_size", config.width());
    json.put("intermediate_size", config.feedForward());
    json.put("num_hidden_layers", config.layers());
    json.put("num_attention_heads", config.heads());
    json.put("num_key_value_heads", config.kvHeads());
    json.put("head_dim", config.headSize());
    json.put("max_position_embeddings", config.positions());
    json.put("rms_norm_eps", config.normEps());
    json.put("hidden_act", "silu");
    json.put("attention_bias", false);
    json.put("mlp_bias", false);
    json.put("tie_word_embeddings", config.tiedHead());
    json.put("bos_token_id", config.bosToken());
    if (config.eosTokens().size() == 1) {
      json.put("eos_token_id", config.eosToken());
    } else {
      config.eosTokens().forEach(json.putArray("eos_token_id")::add);
    }
    json.put("rope_theta", config.ropeTheta());
    RopeScaling scaling = config.ropeScaling();
    if (scaling == null) {
      json.putNull("rope_scaling");
    } else {
      putScaling(json.putObject("rope_scaling"), scaling);
    }
    ObjectNode parameters = json.putObject("rope_parameters").put("rope_theta", config.ropeTheta());
    if (scaling == null) {
      parameters.put("rope_type", "default");
    } else {
      putScaling(parameters, scaling);
    }
    String dtype =
        switch (type) {
          case F32 -> "float32";
          case F16 -> "float16";
          case BF16 -> "bfloat16";
          default -> throw new IllegalArgumentException("no dtype of transformers is " + type);
        };
    json.put("torch_dtype", dtype);
    json.put("dtype", dtype);
    return Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsBytes(json);
  }

  private static void putScaling(ObjectNode json, RopeScaling scaling) {
    json.put("rope_type", "llama3")
        .put("factor", scaling.factor())
        .put("low_freq_factor", scaling.lowFrequencyFactor())
        .put("high_freq_factor", scaling.highFrequencyFactor())
        .put("original_max_position_embeddings", scaling.originalPositions());
  }
}
