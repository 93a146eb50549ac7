package org.lethe.unlearn;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The cases of {@code src/test/python/reference_labels.py}, which documents them. */
record GoldenLabels(JsonNode root) {

  static GoldenLabels load() {
    try (InputStream in = GoldenLabels.class.getResourceAsStream("reference_labels.json")) {
      return new GoldenLabels(new JsonMapper().readTree(Objects.requireNonNull(in)));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** In the order of {@link LabelFile#KEYS}. */
  float[] alphas() {
    return GenericLabels.alphas(root.get("alpha").asDouble());
  }

  List<Case> cases() {
    List<Case> cases = new ArrayList<>();
    for (JsonNode node : root.get("cases")) {
      cases.add(new Case(cases.size(), node));
    }
    return cases;
  }

  List<Case> casesWithLogits() {
    return cases().stream().filter(c -> c.node.has("baseline")).toList();
  }

  record Case(int number, JsonNode node) {
    AnchorDictionary dictionary() {
      return AnchorDictionary.parse(
          "golden", node.get("dictionary").toString().getBytes(StandardCharsets.UTF_8));
    }

    BlockTranslation translate() {
      Map<String, JsonNode> table = new HashMap<>();
      node.get("encode").properties().forEach(e -> table.put(e.getKey(), e.getValue()));
      TokenVariants.Encoder encoder = text -> ints(Objects.requireNonNull(table.get(text), text));
      return new BlockTranslator(dictionary(), encoder, node.get("seed").asLong())
          .translate(ints(node.get("tokens")), node.get("block").asLong());
    }

    List<String> pruned() {
      return node.get("pruned").valueStream().map(JsonNode::asString).toList();
    }

    int[] translated() {
      return ints(node.get("translated"));
    }

    int[] mapping() {
      return ints(node.get("mapping"));
    }

    /** For each translated position. */
    List<Set<Integer>> forbiddenAt() {
      return node.get("forbidden_at")
          .valueStream()
          .<Set<Integer>>map(tokens -> new TreeSet<>(Arrays.stream(ints(tokens)).boxed().toList()))
          .toList();
    }

    /** Logits (Tb, V), multiples of 1/16. */
    double[][] baseline() {
      return logits(node.get("baseline"));
    }

    /** Logits (T, V), multiples of 1/16. */
    double[][] reinforced() {
      return logits(node.get("reinforced"));
    }

    /** (alphas, T) */
    int[][] labels() {
      return LabelFile.KEYS.stream().map(key -> ints(node.get(key))).toArray(int[][]::new);
    }

    private static double[][] logits(JsonNode rows) {
      return rows.valueStream()
          .map(row -> Arrays.stream(ints(row)).mapToDouble(k -> k / 16.0).toArray())
          .toArray(double[][]::new);
    }

    private static int[] ints(JsonNode array) {
      return array.valueStream().mapToInt(JsonNode::asInt).toArray();
    }

    @Override
    public String toString() {
      return "case " + number;
    }
  }
}
