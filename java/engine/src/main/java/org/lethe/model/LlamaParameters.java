package org.lethe.model;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.lethe.kernels.Tensor;

/**
 * A Llama's parameters: views of one flat tensor, of the weights or of their gradients, or wherever
 * weights lie that are only run. What one product reads lies together: q, k and v above one
 * another, and gate and up. The order is that of the backward pass: head, last norm, layers from
 * the last to the first, embedding.
 */
public final class LlamaParameters {
  /** Parameters start at multiples of this many elements, a cache line even of 16-bit ones. */
  private static final long ALIGNMENT = 32;

  /**
   * Where a parameter lies.
   *
   * @param name as Hugging Face calls it
   * @param first its first element in the flat tensor
   * @param rows its rows; 1 for a norm
   * @param width elements in a row
   * @param norm whether it is a vector (a norm's weight) rather than a matrix
   */
  public record Parameter(String name, long first, long rows, long width, boolean norm) {
    /** rows * width. */
    public long elements() {
      return rows * width;
    }

    /** Its shape as files have it: (width) or (rows, width). */
    public long[] shape() {
      return norm ? new long[] {width} : new long[] {rows, width};
    }
  }

  /**
   * The parameters of one layer.
   *
   * @param inputNorm (d)
   * @param qkv ((Hq + 2 Hkv) D, d)
   * @param output (d, Hq D)
   * @param postNorm (d)
   * @param gateUp (2 F, d)
   * @param down (d, F)
   */
  public record Layer(
      Tensor inputNorm, Tensor qkv, Tensor output, Tensor postNorm, Tensor gateUp, Tensor down) {}

  /** Parameters that lie together, above one another. */
  record Group(List<Parameter> parameters) {
    /** Their names. */
    String name() {
      return parameters.stream().map(Parameter::name).collect(Collectors.joining(" + "));
    }

    /** The first element in the flat tensor. */
    long first() {
      return parameters.getFirst().first;
    }

    /** (width) of a norm, or (rows of all, width). */
    long[] shape() {
      long[] shape = parameters.getFirst().shape();
      if (parameters.size() > 1) {
        shape[0] = parameters.stream().mapToLong(Parameter::rows).sum();
      }
      return shape;
    }
  }

  private final @Nullable Tensor flat;
  private final Map<String, Parameter> byName = new HashMap<>();
  private final Map<String, Tensor> tensors = new HashMap<>();
  private final Map<String, Tensor> groups = new HashMap<>(); // by the first of their names
  private final List<Parameter> layout;
  private final Tensor embedding;
  private final Tensor head;
  private final Tensor norm;
  private final List<Layer> layers = new ArrayList<>();

  /**
   * Views {@code flat}, {@link #elements} long.
   *
   * @param config whose parameters they are
   */
  public LlamaParameters(LlamaConfig config, Tensor flat) {
    this(config, flat, group -> flat.view(group.name(), group.first(), group.shape()));
  }

  /** Those that lie where {@code place} says. */
  LlamaParameters(LlamaConfig config, Function<Group, Tensor> place) {
    this(config, null, place);
  }

  private LlamaParameters(
      LlamaConfig config, @Nullable Tensor flat, Function<Group, Tensor> place) {
    this.flat = flat;
    this.layout = layout(config);
    for (Group group : groups(config)) {
      Tensor together = place.apply(group);
      groups.put(group.parameters.getFirst().name, together);
      for (Parameter p : group.parameters) {
        byName.put(p.name, p);
        tensors.put(p.name, together.view(p.name, p.first - group.first(), p.shape()));
      }
    }
    embedding = group("model.embed_tokens.weight");
    head = config.tiedHead() ? embedding : group("lm_head.weight");
    norm = group("model.norm.weight");
    for (int l = 0; l < config.layers(); l++) {
      String layer = "model.layers." + l + ".";
      layers.add(
          new Layer(
              group(layer + "input_layernorm.weight"),
              group(layer + "self_attn.q_proj.weight"),
              group(layer + "self_attn.o_proj.weight"),
              group(layer + "post_attention_layernorm.weight"),
              group(layer + "mlp.gate_proj.weight"),
              group(layer + "mlp.down_proj.weight")));
    }
  }

  private Tensor group(String first) {
    return Objects.requireNonNull(groups.get(first));
  }

  /** Where each parameter of such a Llama lies, in order. */
  public static List<Parameter> layout(LlamaConfig config) {
    return groups(config).stream().flatMap(group -> group.parameters.stream()).toList();
  }

  /** The same, those together that must lie together. */
  static List<Group> groups(LlamaConfig config) {
    var layout = new Layout();
    long d = config.width();
    long f = config.feedForward();
    if (!config.tiedHead()) {
      layout.matrix("lm_head", config.vocabulary(), d);
    }
    layout.norm("model.norm", d);
    for (int l = config.layers() - 1; l >= 0; l--) {
      String layer = "model.layers." + l + ".";
      layout.matrix(layer + "mlp.down_proj", d, f);
      layout.matrix(layer + "mlp.gate_proj", f, d);
      layout.follow(layer + "mlp.up_proj", f, d);
      layout.norm(layer + "post_attention_layernorm", d);
      layout.matrix(layer + "self_attn.o_proj", d, config.queryWidth());
      layout.matrix(layer + "self_attn.q_proj", config.queryWidth(), d);
      layout.follow(layer + "self_attn.k_proj", config.kvWidth(), d);
      layout.follow(layer + "self_attn.v_proj", config.kvWidth(), d);
      layout.norm(layer + "input_layernorm", d);
    }
    layout.matrix("model.embed_tokens", config.vocabulary(), d);
    return layout.groups;
  }

  /** Elements of the flat tensor; the gaps between parameters are to be zero. */
  public static long elements(LlamaConfig config) {
    Parameter last = layout(config).getLast();
    return last.first + last.elements();
  }

  private static final class Layout {
    private final List<Group> groups = new ArrayList<>();
    private long end;

    void matrix(String name, long rows, long width) {
      begin();
      follow(name, rows, width);
    }

    void norm(String name, long width) {
      begin();
      add(new Parameter(name + ".weight", end, 1, width, true));
    }

    void follow(String name, long rows, long width) {
      add(new Parameter(name + ".weight", end, rows, width, false));
    }

    private void begin() {
      end = Math.ceilDiv(end, ALIGNMENT) * ALIGNMENT;
      groups.add(new Group(new ArrayList<>()));
    }

    private void add(Parameter p) {
      groups.getLast().parameters.add(p);
      end = Math.addExact(end, p.elements());
    }
  }

  /** Where the parameter of that name lies. */
  public Parameter find(String name) {
    Parameter p = byName.get(name);
    if (p == null) {
      throw new IllegalArgumentException("this Llama has no parameter '" + name + "'");
    }
    return p;
  }

  /** Every parameter, in the flat tensor's order. */
  public List<Parameter> parameters() {
    return layout;
  }

  /** The parameter of that name, a view. */
  public Tensor tensor(String name) {
    find(name);
    return Objects.requireNonNull(tensors.get(name));
  }

  /**
   * All of them, one after another.
   *
   * @throws IllegalStateException for weights that lie in a file
   */
  public Tensor flat() {
    if (flat == null) {
      throw new IllegalStateException("these weights lie in a file, not in one tensor");
    }
    return flat;
  }

  /** (V, d). */
  public Tensor embedding() {
    return embedding;
  }

  /** (V, d); the embedding where they are tied. */
  public Tensor head() {
    return head;
  }

  /** What tokens are multiplied with: the layers' matrices, first to last, and the head. */
  List<Tensor> matrices() {
    var matrices = new ArrayList<Tensor>();
    for (Layer layer : layers) {
      matrices.addAll(List.of(layer.qkv, layer.output, layer.gateUp, layer.down));
    }
    matrices.add(head);
    return matrices;
  }

  /** (d), the last norm's. */
  public Tensor norm() {
    return norm;
  }

  /** The layers, first to last. */
  public List<Layer> layers() {
    return layers;
  }
}
