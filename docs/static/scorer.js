// How Sphinx's search weighs what it finds: as it does by itself, but pages come first whose title has the words that were
// asked for, and above all one whose title is the question.

const wordsOf = (text) => (text || "").toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
const asked = wordsOf(new URLSearchParams(window.location.search).get("q"));

const likeTheQuestion = (title) => {
    const words = wordsOf(title);
    const share = asked.filter((word) => words.includes(word)).length / Math.max(asked.length, 1);
    return 15 * share + (words.join(" ") === asked.join(" ") ? 15 : 0);
};

var Scorer = {
    score: ([page, title, anchor, description, score]) => score + likeTheQuestion(title),
    objNameMatch: 11,
    objPartialMatch: 6,
    objPrio: { 0: 15, 1: 5, 2: -5 },
    objPrioDefault: 0,
    title: 15,
    partialTitle: 7,
    term: 5,
    partialTerm: 2,
};
