package org.edgeproof.lib;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.edgeproof.lib.job.Ask;
import org.edgeproof.lib.job.Job;
import org.edgeproof.lib.job.Request;
import org.edgeproof.lib.judge.Answers;
import org.edgeproof.lib.judge.Judge;

/** Which asks an answer belongs to, so that a listener hears of them as they come. */
final class Asks {
    private final Map<Integer, List<Ask>> byRequest = new HashMap<>();

    Asks(Job job) {
        for (Ask ask : job.asks) {
            add(ask.answer, ask);
            add(ask.greedy, ask);
            for (int id : ask.samples) {
                add(id, ask);
            }
            if (ask.carried != null && ask.carried.length > 0) {
                add(ask.carried[ask.carried.length - 1], ask);
            }
        }
    }

    void tell(Request request, Judge judge, Answers answers, Listener listener) {
        List<Ask> concerned = byRequest.get(request.id);
        if (concerned != null) {
            for (Ask ask : concerned) {
                listener.asked(ask, judge.leak(ask.index), answers.textOf(ask.greedy));
            }
        }
    }

    private void add(int request, Ask ask) {
        List<Ask> asks = byRequest.get(request);
        if (asks == null) {
            asks = new ArrayList<>();
            byRequest.put(request, asks);
        }
        asks.add(ask);
    }
}
