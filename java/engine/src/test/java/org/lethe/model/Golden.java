package org.lethe.model;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.lethe.kernels.Kernels;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * What PyTorch computed on a {@link TinyLlama}: the files that {@code golden_llama.py} writes.
 *
 * @param json tokens, labels, losses, the optimizer's settings
 * @param tensors "logits", "gradient.PARAMETER", "trained.PARAMETER"
 */
public record Golden(TinyLlama llama, JsonNode json, Map<String, float[]> tensors) {
  /** The golden files of {@link TinyLlama#named}. */
  public static Golden read(String name) {
    byte[] file = resource("golden-" + name + ".safetensors");
    ByteBuffer buffer = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    int header = Math.toIntExact(buffer.getLong());
    var mapper = new JsonMapper();
    JsonNode directory =
        mapper.readTree(new String(file, Long.BYTES, header, StandardCharsets.UTF_8));
    var tensors = new HashMap<String, float[]>();
    for (var entry : directory.properties()) {
      JsonNode offsets = entry.getValue().path("data_offsets");
      int from = offsets.path(0).asInt();
      float[] values = new float[(offsets.path(1).asInt() - from) / Float.BYTES];
      buffer
          .slice(Long.BYTES + header + from, values.length * Float.BYTES)
          .order(ByteOrder.LITTLE_ENDIAN)
          .asFloatBuffer()
          .get(values);
      tensors.put(entry.getKey(), values);
    }
    return new Golden(
        TinyLlama.named(name), mapper.readTree(resource("golden-" + name + ".json")), tensors);
  }

  private static byte[] resource(String name) {
    try (InputStream in = Objects.requireNonNull(Golden.class.getResourceAsStream(name), name)) {
      return in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** A tensor. */
  public float[] tensor(String name) {
    return Objects.requireNonNull(tensors.get(name), name);
  }

  /** Names of the parameters. */
  public List<String> parameters() {
    return LlamaParameters.layout(llama.config()).stream()
        .map(LlamaParameters.Parameter::name)
        .toList();
  }

  /** Blocks that it was computed on. */
  public int blocks() {
    return json.path("tokens").size();
  }

  /** A block's tokens. */
  public int[] tokens(int block) {
    return ints(json.path("tokens").path(block));
  }

  /** A block's labels: label i is predicted from position i - 1. */
  public int[] labels(int block) {
    return ints(json.path("labels").path(block));
  }

  /** All blocks' tokens, one after another. */
  public int[] tokens() {
    return join(this::tokens);
  }

  /** All blocks' targets, as {@link Llama#train} takes them. */
  public int[] targets() {
    return join(b -> targets(labels(b)));
  }

  /** Labels moved to the positions that predict them. */
  public static int[] targets(int[] labels) {
    int[] targets = Arrays.copyOfRange(labels, 1, labels.length + 1);
    targets[labels.length - 1] = Kernels.IGNORE;
    return targets;
  }

  /** Labelled positions of {@code targets}. */
  public static int labelled(int[] targets) {
    return (int) Arrays.stream(targets).filter(t -> t != Kernels.IGNORE).count();
  }

  /** An array of numbers. */
  public static double[] doubles(JsonNode array) {
    double[] values = new double[array.size()];
    Arrays.setAll(values, i -> array.path(i).asDouble());
    return values;
  }

  private static int[] ints(JsonNode array) {
    int[] values = new int[array.size()];
    Arrays.setAll(values, i -> array.path(i).asInt());
    return values;
  }

  private int[] join(java.util.function.IntFunction<int[]> block) {
    return java.util.stream.IntStream.range(0, blocks())
        .mapToObj(block)
        .flatMapToInt(Arrays::stream)
        .toArray();
  }

  /** ||a - b|| / ||b||. */
  public static double distance(float[] a, float[] b) {
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < b.length; i++) {
      difference += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
      norm += (double) b[i] * b[i];
    }
    return a.length == b.length ? Math.sqrt(difference / norm) : Double.NaN;
  }

  /** a . b / (||a|| ||b||). */
  public static double cosine(float[] a, float[] b) {
    double dot = 0;
    double aa = 0;
    double bb = 0;
    for (int i = 0; i < b.length; i++) {
      dot += (double) a[i] * b[i];
      aa += (double) a[i] * a[i];
      bb += (double) b[i] * b[i];
    }
    return a.length == b.length ? dot / Math.sqrt(aa * bb) : Double.NaN;
  }
}
