/**
 * {@link org.lethe.gpu.RunOnGpu}: tries every kernel on a GPU and measures what Llama2-7b is made
 * of, within minutes, on a machine that has nothing else of Lethe's.
 *
 * <p>Nothing ends the run: each {@link org.lethe.gpu.Step} works in processes of its own, which
 * write down every item before and after it, so that one that dies or takes too long costs that
 * item alone.
 */
@NullMarked
package org.lethe.gpu;

import org.jspecify.annotations.NullMarked;
