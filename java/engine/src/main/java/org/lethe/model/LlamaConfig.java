package org.lethe.model;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The sizes and constants of a Llama (Touvron et al. 2023), as {@code config.json} of a {@code
 * LlamaForCausalLM} has them.
 *
 * @param vocabulary V, tokens
 * @param width d, {@code hidden_size}
 * @param feedForward F, {@code intermediate_size}
 * @param layers {@code num_hidden_layers}
 * @param heads Hq, {@code num_attention_heads}
 * @param kvHeads Hkv, {@code num_key_value_heads}, a divisor of {@code heads}
 * @param headSize D, {@code head_dim}, even
 * @param positions {@code max_position_embeddings}
 * @param normEps {@code rms_norm_eps}
 * @param ropeTheta {@code rope_theta}
 * @param ropeScaling Llama 3's scaling of the rotary frequencies, or null
 * @param tiedHead whether the output head is the embedding
 * @param bosToken {@code bos_token_id}
 * @param eosTokens {@code eos_token_id}, one or several: each ends a text
 */
public record LlamaConfig(
    int vocabulary,
    int width,
    int feedForward,
    int layers,
    int heads,
    int kvHeads,
    int headSize,
    int positions,
    double normEps,
    double ropeTheta,
    @Nullable RopeScaling ropeScaling,
    boolean tiedHead,
    int bosToken,
    List<Integer> eosTokens) {

  /**
   * {@code rope_type: llama3} (Llama 3.1): low frequencies are divided by {@code factor}, high ones
   * kept, those between interpolated.
   */
  public record RopeScaling(
      double factor, double lowFrequencyFactor, double highFrequencyFactor, int originalPositions) {

    /** Refuses factors that make no sense. */
    public RopeScaling {
      if (!(factor >= 1)
          || !(lowFrequencyFactor > 0)
          || !(highFrequencyFactor > lowFrequencyFactor)
          || !Double.isFinite(factor)
          || !Double.isFinite(highFrequencyFactor)
          || originalPositions < 1) {
        throw new IllegalArgumentException(
            "rope_scaling: factor %s, low_freq_factor %s, high_freq_factor %s, original_max_position_embeddings %d"
                .formatted(factor, lowFrequencyFactor, highFrequencyFactor, originalPositions));
      }
    }
  }

  /** Sizes that no Llama has are taken for a broken file, before anything is allocated. */
  private static final int LARGEST = 1 << 24;

  /** Refuses sizes that cannot be. */
  public LlamaConfig {
    check("vocab_size", vocabulary, 1, LARGEST);
    check("hidden_size", width, 1, LARGEST);
    check("intermediate_size", feedForward, 1, LARGEST);
    check("num_hidden_layers", layers, 1, 4096);
    check("num_attention_heads", heads, 1, 65536);
    check("num_key_value_heads", kvHeads, 1, heads);
    check("head_dim", headSize, 2, 256);
    check("max_position_embeddings", positions, 1, LARGEST);
    check("bos_token_id", bosToken, 0, vocabulary - 1);
    if (eosTokens.isEmpty()) {
      throw new IllegalArgumentException("eos_token_id is an empty list");
    }
    eosTokens.forEach(eos -> check("eos_token_id", eos, 0, vocabulary - 1));
    eosTokens = List.copyOf(eosTokens);
    if (heads % kvHeads != 0) {
      throw new IllegalArgumentException(
          "num_attention_heads %d is no multiple of num_key_value_heads %d"
              .formatted(heads, kvHeads));
    }
    if (headSize % 2 != 0) {
      throw new IllegalArgumentException("head_dim " + headSize + " is odd: RoPE turns pairs");
    }
    if (!(normEps > 0 && normEps < 1)) {
      throw new IllegalArgumentException("rms_norm_eps " + normEps + " is not in (0, 1)");
    }
    if (!(ropeTheta >= 1 && Double.isFinite(ropeTheta))) {
      throw new IllegalArgumentException("rope_theta " + ropeTheta + " is not a number from 1 on");
    }
  }

  /** With one end-of-text token. */
  public LlamaConfig(
      int vocabulary,
      int width,
      int feedForward,
      int layers,
      int heads,
      int kvHeads,
      int headSize,
      int positions,
      double normEps,
      double ropeTheta,
      @Nullable RopeScaling ropeScaling,
      boolean tiedHead,
      int bosToken,
      int eosToken) {
    this(
        vocabulary,
        width,
        feedForward,
        layers,
        heads,
        kvHeads,
        headSize,
        positions,
        normEps,
        ropeTheta,
        ropeScaling,
        tiedHead,
        bosToken,
        List.of(eosToken));
  }

  /** The first end-of-text token: the one that formats with room for one name. */
  public int eosToken() {
    return eosTokens.getFirst();
  }

  private static void check(String name, int value, int least, int most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "%s is %d, must be %d to %d".formatted(name, value, least, most));
    }
  }

  /** Width of all query heads together: Hq D. */
  public int queryWidth() {
    return heads * headSize;
  }

  /** Width of all key heads together: Hkv D. */
  public int kvWidth() {
    return kvHeads * headSize;
  }

  /** Trainable numbers. */
  public long parameters() {
    long layer =
        2L * width
            + (long) width * (queryWidth() + 2L * kvWidth())
            + (long) queryWidth() * width
            + 3L * width * feedForward;
    return layers * layer + width + (tiedHead ? 1L : 2L) * vocabulary * width;
  }
}
