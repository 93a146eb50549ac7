package org.lethe.format;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.lethe.format.MappedCheckpoint.Contents;
import org.lethe.format.MappedCheckpoint.Mapped;
import org.lethe.model.LlamaConfig;
import tools.jackson.databind.JsonNode;

/** Reads a Hugging Face directory of a LlamaForCausalLM. */
final class HuggingFaceCheckpoint {
  static final String CONFIG = "config.json";
  static final String WEIGHTS = "model.safetensors";
  static final String INDEX = "model.safetensors.index.json";

  /** A tensor and the file that holds it. */
  private record Found(Path file, MemorySegment mapped, Safetensors.Entry entry) {}

  private final Path directory;
  private final LlamaConfig config;
  private final Arena arena;
  private final Map<String, Found> found = new LinkedHashMap<>();

  private HuggingFaceCheckpoint(Path directory, LlamaConfig config, Arena arena) {
    this.directory = directory;
    this.config = config;
    this.arena = arena;
  }

  static Checkpoint open(Path directory) {
    LlamaConfig config = HuggingFaceConfig.read(directory.resolve(CONFIG));
    return MappedCheckpoint.open(
        directory,
        arena ->
            new Contents(config, new HuggingFaceCheckpoint(directory, config, arena).tensors()));
  }

  private List<Mapped> tensors() {
    if (Files.exists(directory.resolve(WEIGHTS))) {
      map(directory.resolve(WEIGHTS));
    } else if (Files.exists(directory.resolve(INDEX))) {
      mapShards(directory.resolve(INDEX));
    } else {
      throw new ModelFormatException(
          directory, "holds neither %s nor %s".formatted(WEIGHTS, INDEX));
    }
    List<Mapped> tensors = new ArrayList<>();
    for (LlamaTensor tensor : LlamaTensor.of(config)) {
      Found f = found.remove(tensor.name());
      if (f == null) {
        throw new ModelFormatException(directory, "tensor '" + tensor.name() + "' is missing");
      }
      tensors.add(checked(tensor, f));
    }
    found.forEach(this::refuseUnlessKnown);
    return tensors;
  }

  private Mapped checked(LlamaTensor tensor, Found f) {
    Safetensors.Entry entry = f.entry();
    if (!entry.shape().equals(tensor.shape())) {
      throw new ModelFormatException(
          f.file(),
          "tensor '%s' is %s, %s says %s"
              .formatted(
                  tensor.name(),
                  LlamaTensor.text(entry.shape()),
                  CONFIG,
                  LlamaTensor.text(tensor.shape())));
    }
    StoredType type =
        switch (entry.type()) {
          case "F32" -> StoredType.F32;
          case "F16" -> StoredType.F16;
          case "BF16" -> StoredType.BF16;
          default ->
              throw new ModelFormatException(
                  f.file(),
                  "tensor '%s' is stored as %s; F32, F16 and BF16 are read"
                      .formatted(tensor.name(), entry.type()));
        };
    MemorySegment bytes = f.mapped().asSlice(entry.begin(), entry.end() - entry.begin());
    return new Mapped(tensor, type, bytes, false);
  }

  /** A tied head's copy of the embedding and Llama 2's rotary frequencies add nothing. */
  private void refuseUnlessKnown(String name, Found f) {
    boolean known =
        name.endsWith(".rotary_emb.inv_freq")
            || (config.tiedHead() && name.equals("lm_head.weight"));
    if (!known) {
      throw new ModelFormatException(
          f.file(), "tensor '%s' has no place in the Llama of %s".formatted(name, CONFIG));
    }
  }

  private void mapShards(Path index) {
    JsonNode weightMap = Json.read(index).path("weight_map");
    Map<String, String> shards = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> e : weightMap.properties()) {
      shards.put(e.getKey(), shard(index, e.getKey(), e.getValue()));
    }
    if (shards.isEmpty()) {
      throw new ModelFormatException(index, "lists no tensors in 'weight_map'");
    }
    Set<String> files = new LinkedHashSet<>(shards.values());
    files.forEach(file -> map(directory.resolve(file)));
    shards.forEach(
        (name, shard) -> {
          Found f = found.get(name);
          if (f == null || !f.file().equals(directory.resolve(shard))) {
            throw new ModelFormatException(
                directory.resolve(shard),
                "lacks tensor '%s', which %s places there".formatted(name, INDEX));
          }
        });
  }

  private static String shard(Path index, String tensor, JsonNode value) {
    String name = value.isString() ? value.stringValue() : "";
    if (name.isEmpty()
        || name.equals(".")
        || name.equals("..")
        || name.chars().anyMatch(c -> c == '/' || c == '\\' || c < ' ' || c > '~')) {
      throw new ModelFormatException(
          index,
          "tensor '%s' lies in %s, which is no file of this folder".formatted(tensor, value));
    }
    return name;
  }

  /** Maps a file and takes down what it holds. */
  private void map(Path file) {
    try (FileChannel channel = FileChannel.open(file)) {
      Map<String, Safetensors.Entry> entries = Safetensors.entries(file, channel);
      MemorySegment mapped = channel.map(MapMode.READ_ONLY, 0, channel.size(), arena);
      entries.forEach(
          (name, entry) -> {
            Found other = found.put(name, new Found(file, mapped, entry));
            if (other != null) {
              throw new ModelFormatException(
                  file,
                  "tensor '%s' lies in %s as well".formatted(name, other.file().getFileName()));
            }
          });
    } catch (IOException e) {
      throw ModelFormatException.of(file, e);
    }
  }
}
