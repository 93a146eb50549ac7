package org.lethe.cli;

import java.util.LinkedHashMap;
import java.util.Map;
import org.lethe.model.LlamaConfig;

/** Llamas whose sizes are known by name, for plans without their files. */
final class NamedModel {
  private NamedModel() {}

  /** Names and the sizes that their {@code config.json} has. */
  static Map<String, LlamaConfig> all() {
    var all = new LinkedHashMap<String, LlamaConfig>();
    all.put(
        "llama2-7b",
        new LlamaConfig(32000, 4096, 11008, 32, 32, 32, 128, 4096, 1e-5, 1e4, null, false, 1, 2));
    all.put(
        "llama3-8b",
        new LlamaConfig(
            128256, 4096, 14336, 32, 32, 8, 128, 8192, 1e-5, 5e5, null, false, 128000, 128001));
    all.put(
        "tinyllama-1.1b",
        new LlamaConfig(32000, 2048, 5632, 22, 32, 4, 64, 2048, 1e-5, 1e4, null, false, 1, 2));
    all.put(
        "smollm2-135m",
        new LlamaConfig(49152, 576, 1536, 30, 9, 3, 64, 8192, 1e-5, 1e5, null, true, 1, 2));
    return all;
  }
}
