// What the peers' Node scripts share: figures under the names of orch's rows. See lib.py.
'use strict';

exports.base = process.env.ORCH_PEERS;
exports.quick = process.argv.includes('--quick');
const units = { ms: 'ms', mb: 'MB', percent: '%', s: '1/s' };

exports.now = () => performance.timeOrigin + performance.now();
exports.fib = (number) => (number < 2 ? number : exports.fib(number - 1) + exports.fib(number - 2));
exports.pause = (ms) => new Promise((done) => setTimeout(done, ms));

exports.percentile = (sample, share) => {
    const ordered = [...sample].sort((a, b) => a - b);
    return ordered[Math.round(share * (ordered.length - 1))];
};

exports.emit = (peer, name, value, settings = {}) => {
    const unit = units[name.split('_').pop()];
    console.log(JSON.stringify({ peer, name, value: Math.round(value * 1000) / 1000, unit, settings }));
};

// Bodies are [start, end] in ms: of light40 the total counts, of chain100 the gaps.
exports.emitChain = (peer, asked, bodies, name) => {
    if (name === 'light40') {
        exports.emit(peer, 'light40_total_ms', bodies.at(-1)[1] - asked);
        return;
    }
    const gaps = bodies.slice(1).map((body, place) => body[0] - bodies[place][1]);
    exports.emit(peer, 'chain100_gap_p50_ms', exports.percentile(gaps, 0.5));
    exports.emit(peer, 'chain100_gap_p95_ms', exports.percentile(gaps, 0.95));
};
