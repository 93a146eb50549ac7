/**
 * The method of Eldan and Russinovich (arXiv 2310.02238): anchors, translation, generic labels, the
 * run directory.
 *
 * <p>An {@link org.lethe.unlearn.AnchorDictionary} names what gives a text away. A {@link
 * org.lethe.unlearn.BlockTranslator} finds its {@link org.lethe.unlearn.TokenVariants} in a block
 * and puts generic words in their place; the {@link org.lethe.unlearn.BlockTranslation} remembers
 * where each position went. From both models' logits {@link org.lethe.unlearn.GenericLabels} then
 * picks what each position should have predicted, and a {@link org.lethe.unlearn.LabelFile} carries
 * that to any trainer.
 */
@NullMarked
package org.lethe.unlearn;

import org.jspecify.annotations.NullMarked;
