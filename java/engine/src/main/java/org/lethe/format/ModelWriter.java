package org.lethe.format;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.lethe.model.LlamaConfig;
import org.lethe.model.ParameterSource;
import tools.jackson.databind.node.ObjectNode;

/**
 * Writes a Llama as a Hugging Face directory or as a GGUF file. What is written is whole or not
 * there at all, holds finite numbers only, and never replaces what exists.
 */
public final class ModelWriter {
  /** Above this, the weights of a directory are split. */
  public static final long SHARD_BYTES = 5_000_000_000L;

  private ModelWriter() {}

  /**
   * Writes {@code config.json}, {@code model.safetensors} (in shards of up to {@link #SHARD_BYTES},
   * with an index) and {@code extraFiles} into a new folder.
   *
   * @param type F32, F16 or BF16
   * @param extraFiles further files by name, such as {@code tokenizer.json}
   * @throws ModelFormatException where the folder exists, cannot be written, or an element does not
   *     fit the type
   */
  public static void writeHuggingFace(
      Path directory,
      LlamaConfig config,
      StoredType type,
      Map<String, byte[]> extraFiles,
      ParameterSource source) {
    writeHuggingFace(directory, config, type, extraFiles, source, SHARD_BYTES);
  }

  /** The same with another limit for a shard; a tensor above it has a shard of its own. */
  public static void writeHuggingFace(
      Path directory,
      LlamaConfig config,
      StoredType type,
      Map<String, byte[]> extraFiles,
      ParameterSource source,
      long shardBytes) {
    Map<String, byte[]> files = new TreeMap<>(extraFiles);
    files.keySet().forEach(ModelWriter::refuseReserved);
    files.put(HuggingFaceCheckpoint.CONFIG, HuggingFaceConfig.write(config, type));
    List<List<LlamaTensor>> shards = shards(LlamaTensor.of(config), type, shardBytes);
    List<String> names = new ArrayList<>();
    for (int i = 1; i <= shards.size(); i++) {
      names.add(
          shards.size() == 1
              ? HuggingFaceCheckpoint.WEIGHTS
              : "model-%05d-of-%05d.safetensors".formatted(i, shards.size()));
    }
    if (shards.size() > 1) {
      files.put(HuggingFaceCheckpoint.INDEX, index(shards, names, type));
    }
    Aside.make(
        directory,
        type.bytes(config.parameters()) + files.values().stream().mapToLong(b -> b.length).sum(),
        aside -> {
          Files.createDirectory(aside);
          for (Map.Entry<String, byte[]> e : files.entrySet()) {
            ByteBuffer content = ByteBuffer.wrap(e.getValue());
            Aside.file(aside.resolve(e.getKey()), file -> TensorWriter.write(file, content));
          }
          try (TensorWriter writer = new TensorWriter(directory, source)) {
            for (int i = 0; i < shards.size(); i++) {
              List<LlamaTensor> shard = shards.get(i);
              Aside.file(
                  aside.resolve(names.get(i)),
                  file -> {
                    TensorWriter.write(file, safetensorsHeader(shard, type));
                    for (LlamaTensor tensor : shard) {
                      writer.write(tensor, type, false, file);
                    }
                  });
            }
          }
          Aside.sync(aside);
        });
  }

  private static void refuseReserved(String name) {
    if (name.isEmpty()
        || name.contains("/")
        || name.startsWith(".")
        || name.equals(HuggingFaceCheckpoint.CONFIG)
        || (name.startsWith("model") && name.contains(".safetensors"))) {
      throw new IllegalArgumentException("'" + name + "' cannot be the name of an extra file");
    }
  }

  private static List<List<LlamaTensor>> shards(
      List<LlamaTensor> tensors, StoredType type, long shardBytes) {
    List<List<LlamaTensor>> shards = new ArrayList<>(List.of(new ArrayList<>()));
    long bytes = 0;
    for (LlamaTensor tensor : tensors) {
      long size = type.bytes(tensor.elements());
      if (bytes > 0 && size > shardBytes - bytes) {
        shards.add(new ArrayList<>());
        bytes = 0;
      }
      shards.getLast().add(tensor);
      bytes += size;
    }
    return shards;
  }

  private static byte[] index(List<List<LlamaTensor>> shards, List<String> names, StoredType type) {
    ObjectNode json = Json.MAPPER.createObjectNode();
    ObjectNode metadata = json.putObject("metadata");
    ObjectNode weightMap = json.putObject("weight_map");
    long total = 0;
    for (int i = 0; i < shards.size(); i++) {
      for (LlamaTensor tensor : shards.get(i)) {
        weightMap.put(tensor.name(), names.get(i));
        total += type.bytes(tensor.elements());
      }
    }
    metadata.put("total_size", total);
    return Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsBytes(json);
  }

  /** The header, padded with spaces so that the data begins at a multiple of 8. */
  private static ByteBuffer safetensorsHeader(List<LlamaTensor> tensors, StoredType type) {
    ObjectNode json = Json.MAPPER.createObjectNode();
    json.putObject("__metadata__").put("format", "pt");
    long at = 0;
    for (LlamaTensor tensor : tensors) {
      ObjectNode entry = json.putObject(tensor.name()).put("dtype", type.name());
      tensor.shape().forEach(entry.withArray("shape")::add);
      long end = at + type.bytes(tensor.elements());
      entry.putArray("data_offsets").add(at).add(end);
      at = end;
    }
    String text = json.toString();
    byte[] bytes =
        (text + " ".repeat((8 - text.length() % 8) % 8)).getBytes(StandardCharsets.US_ASCII);
    return ByteBuffer.allocate(8 + bytes.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(bytes.length)
        .put(bytes)
        .flip();
  }

  /**
   * Writes a GGUF file that llama.cpp runs: the matrices as {@code type} (as F16 where Q8_0's
   * blocks do not fit the columns), norms as F32.
   *
   * @param type F32, F16, BF16 or Q8_0
   * @param tokenizerMetadata the keys {@code tokenizer.*}, of the kinds that {@link Gguf#metadata}
   *     gives: an {@link Integer} from 0 on is written as an unsigned 32-bit integer
   * @throws ModelFormatException where the file exists, cannot be written, an element does not fit
   *     the type, or the tokenizer has another number of tokens than the model
   */
  public static void writeGguf(
      Path file,
      LlamaConfig config,
      StoredType type,
      Map<String, Object> tokenizerMetadata,
      ParameterSource source) {
    GgufHeader header = new GgufHeader(file, config, type, tokenizerMetadata);
    ByteBuffer start = header.bytes();
    Aside.make(
        file,
        start.remaining() + header.dataBytes(),
        aside ->
            Aside.file(
                aside,
                out -> {
                  TensorWriter.write(out, start);
                  try (TensorWriter writer = new TensorWriter(file, source)) {
                    for (GgufHeader.Placed placed : header.tensors()) {
                      writer.write(placed.tensor(), placed.type(), true, out);
                      TensorWriter.write(out, ByteBuffer.allocate(placed.padding()));
                    }
                    header.writeRopeFactors(out);
                  }
                }));
  }
}
