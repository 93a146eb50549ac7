package org.lethe.format;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.lethe.model.LlamaConfig;

/**
 * A tensor that a Llama must have.
 *
 * @param name its Hugging Face name
 * @param ggufName its name in a GGUF
 * @param shape (rows, columns) of a matrix, (elements) of a norm's weight
 * @param heads where RoPE turns its rows, the heads that they fall into; else 0
 */
record LlamaTensor(String name, String ggufName, List<Long> shape, int heads) {

  /** All tensors of {@code config}, in the order in which they are written. */
  static List<LlamaTensor> of(LlamaConfig config) {
    long v = config.vocabulary();
    long d = config.width();
    long f = config.feedForward();
    long q = config.queryWidth();
    long kv = config.kvWidth();
    List<LlamaTensor> all = new ArrayList<>(3 + 9 * config.layers());
    all.add(tensor("model.embed_tokens", "token_embd", v, d));
    for (int i = 0; i < config.layers(); i++) {
      String hf = "model.layers." + i + ".";
      String gguf = "blk." + i + ".";
      all.add(tensor(hf + "input_layernorm", gguf + "attn_norm", d));
      all.add(rotated(hf + "self_attn.q_proj", gguf + "attn_q", config.heads(), q, d));
      all.add(rotated(hf + "self_attn.k_proj", gguf + "attn_k", config.kvHeads(), kv, d));
      all.add(tensor(hf + "self_attn.v_proj", gguf + "attn_v", kv, d));
      all.add(tensor(hf + "self_attn.o_proj", gguf + "attn_output", d, q));
      all.add(tensor(hf + "post_attention_layernorm", gguf + "ffn_norm", d));
      all.add(tensor(hf + "mlp.gate_proj", gguf + "ffn_gate", f, d));
      all.add(tensor(hf + "mlp.up_proj", gguf + "ffn_up", f, d));
      all.add(tensor(hf + "mlp.down_proj", gguf + "ffn_down", d, f));
    }
    all.add(tensor("model.norm", "output_norm", d));
    if (!config.tiedHead()) {
      all.add(tensor("lm_head", "output", v, d));
    }
    return all;
  }

  private static LlamaTensor tensor(String name, String ggufName, Long... shape) {
    return new LlamaTensor(name + ".weight", ggufName + ".weight", List.of(shape), 0);
  }

  private static LlamaTensor rotated(String name, String ggufName, int heads, Long... shape) {
    return new LlamaTensor(name + ".weight", ggufName + ".weight", List.of(shape), heads);
  }

  long columns() {
    return shape.getLast();
  }

  long elements() {
    return shape.stream().reduce(1L, Math::multiplyExact);
  }

  boolean isNorm() {
    return shape.size() == 1;
  }

  /**
   * The row of a GGUF that holds row {@code row}. RoPE turns rows i and D/2 + i of a head as a
   * pair; GGUF has the pair side by side, at 2 i and 2 i + 1.
   */
  long ggufRow(long row) {
    long headSize = shape.getFirst() / heads;
    long half = headSize / 2;
    long i = row % headSize;
    return row - i + (i < half ? 2 * i : 2 * (i - half) + 1);
  }

  /** The row that row {@code ggufRow} of a GGUF holds: the inverse of {@link #ggufRow}. */
  long rowOfGguf(long ggufRow) {
    long headSize = shape.getFirst() / heads;
    long i = ggufRow % headSize;
    return ggufRow - i + i / 2 + i % 2 * (headSize / 2);
  }

  /** A shape as messages show it: (32000, 4096). */
  static String text(List<Long> shape) {
    return shape.stream().map(String::valueOf).collect(Collectors.joining(", ", "(", ")"));
  }
}
