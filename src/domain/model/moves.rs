//! Every move from a state: what people and GitHub do, what workers do, and what goes wrong.

use super::*;
use crate::domain::consequence::{Consequence, Locks, StepEnd, after};
use crate::domain::run::{RunEvent, next_status};

/// Who makes a move; liveness may count on Titan itself, not on people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    People,
    Titan,
    /// A crash or a frozen worker.
    Trouble,
    /// The look at what is held for it; Titan asks for it, and nothing else gives such a lock back.
    Look,
}

impl State {
    /// The states that can come next.
    pub(super) fn next(&self, people: People, rules: Rules) -> Vec<(By, Self)> {
        let mut next = Vec::new();
        if self.wrong.is_some() {
            return next;
        }
        self.people(people, &mut next);
        self.locks_end(&mut next);
        for at in 0..REPLICAS {
            self.trouble(at, &mut next);
            if !self.workers[at].frozen {
                self.work(at, rules, &mut next);
            }
        }
        for (_, state) in &mut next {
            state.check();
            // Which replica it is makes no difference.
            state.workers.sort_unstable();
        }
        next
    }

    fn people(&self, people: People, next: &mut Vec<(By, Self)>) {
        for pull in 0..PULLS {
            for word in Word::ALL {
                if people != People::Busy && pull == 1 && word == Word::Promote {
                    continue;
                }
                match self.pulls[pull].asked[word as usize] {
                    Asked::Not => {
                        let mut state = *self;
                        state.pulls[pull].asked[word as usize] = Asked::Given(self.pulls[pull].head);
                        next.push((By::People, state));
                    }
                    // The same delivery once more: the key is known, so it changes nothing.
                    Asked::Given(_) | Asked::Waits(_) | Asked::Concluded => {}
                }
            }
        }
        // One of the two is enough for pushing, closing and losing its lock: the other sees all that comes of it.
        let first = &self.pulls[0];
        if people == People::Pushing && first.head == 0 && first.open {
            let mut state = *self;
            state.pulls[0].head = 1;
            state.leave_line(0);
            next.push((By::People, state));
        }
        if people == People::Taking && first.open && !first.merged {
            let mut state = *self;
            state.pulls[0].open = false;
            state.leave_line(0);
            if let Some(run) = state.pulls[0].run.as_mut().filter(|run| run.kind != RunKind::Restore) {
                run.cancelled = true;
            }
            state.leave(0);
            next.push((By::People, state));
        }
        if people == People::Taking && self.locks.iter().flatten().any(|lock| lock.owner == 0) {
            let mut state = *self;
            state.take_away(0);
            next.push((By::People, state));
        }
    }

    /// `/titan unlock --force`.
    fn take_away(&mut self, loser: u8) {
        for (at, held) in self.locks.iter_mut().enumerate() {
            if held.is_some_and(|lock| lock.owner == loser) {
                *held = None;
                if let Some(run) = &mut self.pulls[usize::from(loser)].run {
                    run.fences[at] = 0;
                    run.cancelled |= run.kind != RunKind::Restore;
                }
            }
        }
    }

    fn leave_line(&mut self, pull: u8) {
        self.out_of_line(|(waiting, _)| waiting == pull);
        for asked in &mut self.pulls[usize::from(pull)].asked {
            if matches!(asked, Asked::Waits(_)) {
                *asked = Asked::Concluded;
            }
        }
    }

    fn busy(&self) -> bool {
        self.pulls.iter().any(|pull| pull.run.is_some())
    }

    /// As `store/locks::leave`: what the change tried is put back first.
    fn leave(&mut self, pull: u8) {
        let this = usize::from(pull);
        if self.busy() {
            return;
        }
        let canary = self.locks[0].filter(|lock| lock.owner == pull && lock.held_for != HeldFor::Look);
        let own = [version(pull, 0), version(pull, 1)];
        let tried = canary.is_some() && own.contains(&self.live[0]) && !self.pulls[this].merged;
        for (at, held) in self.locks.iter_mut().enumerate() {
            let keeps = tried && at == 0;
            if held.is_some_and(|lock| lock.owner == pull && lock.held_for != HeldFor::Look) && !keeps {
                *held = None;
            }
        }
        if tried {
            self.pulls[this].passed = None;
            self.start(pull, RunKind::Restore, self.live[0] - version(pull, 0));
        }
    }

    /// A lock that is over time ends; one that is held for a look ends when somebody has looked.
    fn locks_end(&self, next: &mut Vec<(By, Self)>) {
        if self.busy() {
            return;
        }
        for pull in 0..PULLS as u8 {
            let own = |held_for: fn(HeldFor) -> bool| {
                self.locks.iter().flatten().any(|lock| lock.owner == pull && held_for(lock.held_for))
            };
            if own(|held_for| held_for == HeldFor::Run) {
                let mut state = *self;
                state.leave(pull);
                next.push((By::Titan, state));
            }
            if own(|held_for| held_for == HeldFor::Look) {
                let mut state = *self;
                state.take_away(pull);
                next.push((By::Look, state));
            }
        }
    }

    fn trouble(&self, at: usize, next: &mut Vec<(By, Self)>) {
        let worker = self.workers[at];
        if worker.task == Task::Idle {
            return;
        }
        let mut crashed = *self;
        crashed.workers[at] = IDLE;
        next.push((By::Trouble, crashed));
        let mut other = *self;
        other.workers[at].frozen = !worker.frozen;
        next.push((if worker.frozen { By::Titan } else { By::Trouble }, other));
    }

    /// Takes a job for a worker. A frozen worker that has it is overtaken; one that is not keeps it.
    fn claim(&self, at: usize, same: impl Fn(Task) -> bool) -> Option<Self> {
        let mut state = *self;
        for (other, worker) in state.workers.iter_mut().enumerate() {
            if other != at && same(worker.task) && worker.fence == 1 {
                if !worker.frozen {
                    return None;
                }
                worker.fence = 0;
            }
        }
        state.workers[at] = IDLE;
        Some(state)
    }

    fn work(&self, at: usize, rules: Rules, next: &mut Vec<(By, Self)>) {
        let worker = self.workers[at];
        // A commit carries the worker's number; the store compares it with the one that stands there.
        let may_commit = !rules.fence || lock::fence_holds(worker.fence, Some(1));
        match worker.task {
            Task::Idle => self.take_up(at, rules, next),
            _ if !may_commit && !matches!(worker.task, Task::Acts { .. }) => {
                let mut state = *self;
                state.workers[at] = IDLE;
                next.push((By::Titan, state));
            }
            Task::Decides { pull, word, verdict, from_line, stale } => {
                let mut state = *self;
                state.workers[at] = IDLE;
                // Facts that are too old are read again; the command stays as it was.
                if !(rules.fresh && stale && verdict == Verdict::Start) {
                    state.commit_decision(pull, word, verdict, from_line, rules);
                }
                next.push((By::Titan, state));
            }
            Task::Acts { pull, step } => self.act(at, pull, step, rules, next),
            Task::Records { pull, step, end } => {
                let mut state = *self;
                state.workers[at] = IDLE;
                state.record(pull, step, end);
                next.push((By::Titan, state));
            }
        }
    }

    fn take_up(&self, at: usize, rules: Rules, next: &mut Vec<(By, Self)>) {
        for pull in 0..PULLS as u8 {
            for word in Word::ALL {
                let Asked::Given(head) = self.pulls[usize::from(pull)].asked[word as usize] else { continue };
                // Commands of one pull request share a key.
                let same = |task| matches!(task, Task::Decides { pull: p, from_line: false, .. } if p == pull);
                if let Some(mut state) = self.claim(at, same) {
                    let verdict = self.decide(pull, word, head);
                    state.workers[at].task = Task::Decides { pull, word, verdict, from_line: false, stale: false };
                    next.push((By::Titan, state));
                }
            }
            if self.pulls[usize::from(pull)].run.is_some() {
                let own =
                    |task| matches!(task, Task::Acts { pull: p, .. } | Task::Records { pull: p, .. } if p == pull);
                if let Some(state) = self.claim(at, own) {
                    state.begin(at, pull, rules, next);
                }
            }
        }
        let Some((pull, word)) = self.turn() else { return };
        let Asked::Waits(head) = self.pulls[usize::from(pull)].asked[word as usize] else { return };
        let same = |task| matches!(task, Task::Decides { from_line: true, .. });
        if let Some(mut state) = self.claim(at, same) {
            let verdict = self.decide(pull, word, head);
            state.workers[at].task = Task::Decides { pull, word, verdict, from_line: true, stale: false };
            next.push((By::Titan, state));
        }
    }

    /// The gates that the model knows, and the lock's own.
    fn decide(&self, pull: u8, word: Word, head: u8) -> Verdict {
        let this = &self.pulls[usize::from(pull)];
        let passed = word == Word::Canary || this.passed == Some(this.head);
        if !this.open || this.merged || head != this.head || !passed || this.run.is_some() {
            return Verdict::Refuse;
        }
        let kept = self.kept_waiting(pull, word);
        if kept { Verdict::Wait } else { Verdict::Start }
    }

    /// One transaction, with the constraints that the tables have: somebody else may have been first.
    fn commit_decision(&mut self, pull: u8, word: Word, verdict: Verdict, from_line: bool, rules: Rules) {
        let this = usize::from(pull);
        let asked = self.pulls[this].asked[word as usize];
        let head = match asked {
            Asked::Given(head) if !from_line => head,
            Asked::Waits(head) if from_line => head,
            _ => return,
        };
        match verdict {
            Verdict::Refuse => {
                self.out_of_line(|waiting| waiting == (pull, word));
                self.pulls[this].asked[word as usize] = Asked::Concluded;
            }
            Verdict::Wait if from_line => {}
            Verdict::Wait => {
                // A later command takes the place of an earlier one.
                self.leave_line(pull);
                let free = usize::from(self.line[0].is_some());
                self.line[free] = Some((pull, word));
                self.pulls[this].asked[word as usize] = Asked::Waits(head);
            }
            Verdict::Start => {
                let needed = lock::needed(word.kind());
                let taken = needed.iter().any(|env| self.locks[at(*env)].is_some_and(|lock| lock.owner != pull));
                if rules.lock && (taken || self.busy()) || self.pulls[this].run.is_some() {
                    return;
                }
                self.out_of_line(|waiting| waiting == (pull, word));
                self.pulls[this].asked[word as usize] = Asked::Concluded;
                self.start(pull, word.kind(), head);
            }
        }
    }

    /// As `store/runs::insert`: with its locks, each with a new fence.
    fn start(&mut self, pull: u8, kind: RunKind, head: u8) {
        for worker in &mut self.workers {
            if let Task::Decides { stale, verdict: Verdict::Start, .. } = &mut worker.task {
                *stale = true;
            }
        }
        let mut fences = [0; 2];
        for environment in lock::needed(kind) {
            let at = at(*environment);
            // Whoever was given the number before has an older one now.
            for run in self.pulls.iter_mut().filter_map(|pull| pull.run.as_mut()) {
                run.fences[at] = 0;
            }
            self.locks[at] = Some(Lock { owner: pull, held_for: HeldFor::Run });
            fences[at] = 1;
        }
        let run =
            Run { kind, head, status: RunStatus::Queued, step: 0, fences, cancelled: false, intent: false, effects: 0 };
        self.pulls[usize::from(pull)].run = Some(run);
    }

    /// Whether a run still has every lock that it needs.
    fn has_locks(&self, run: &Run, pull: u8) -> bool {
        lock::needed(run.kind).iter().all(|env| {
            let standing = self.locks[at(*env)].filter(|lock| lock.owner == pull).map(|_| 1);
            lock::fence_holds(run.fences[at(*env)], standing)
        })
    }

    /// A claimed step: what is known, what forbids it, and the intent.
    fn begin(mut self, at: usize, pull: u8, rules: Rules, next: &mut Vec<(By, Self)>) {
        let this = usize::from(pull);
        let Some(mut run) = self.pulls[this].run else { return };
        if run.status == RunStatus::Queued {
            let Ok(status) = next_status(run.status, RunEvent::Started) else { return };
            run.status = status;
            self.pulls[this].run = Some(run);
        }
        let step = run.step;
        let records = |state: &Self, end| {
            let mut state = *state;
            state.workers[at].task = Task::Records { pull, step, end };
            (By::Titan, state)
        };
        let puts_back = run.current() == StepName::Restore;
        let acts = matches!(run.current(), StepName::Merge | StepName::Deploy | StepName::Restore);
        if !acts {
            // Whatever the service says.
            let ends: &[StepEnd] = match (run.cancelled, run.kind) {
                (true, kind) if kind != RunKind::Rollback => &[StepEnd::Stopped],
                _ => &[StepEnd::Done, StepEnd::Failed { touched: true }, StepEnd::Inconclusive],
            };
            next.extend(ends.iter().map(|end| records(&self, *end)));
            return;
        }
        let merged = run.current() == StepName::Merge && self.pulls[this].merged;
        if run.intent && (run.effects > 0 || merged) {
            return next.push(records(&self, StepEnd::Done));
        }
        let looked_at = run.kind == RunKind::Canary || run.current() == StepName::Merge;
        let moved = looked_at && (self.pulls[this].head != run.head || !self.pulls[this].open);
        let failed = StepEnd::Failed { touched: true };
        if !puts_back && (run.cancelled || moved) {
            return next.push(records(&self, StepEnd::Stopped));
        }
        if rules.lock_fence && !self.has_locks(&run, pull) {
            return next.push(records(&self, if puts_back { failed } else { StepEnd::Stopped }));
        }
        if !self.has_locks(&run, pull) {
            self.wrong = Some(Wrong::ActedWithoutLock);
        }
        run.intent = true;
        self.pulls[this].run = Some(run);
        self.workers[at].task = Task::Acts { pull, step };
        next.push((By::Titan, self));
    }

    /// The call, which the claim on the job allows or not; it works or fails.
    fn act(&self, at: usize, pull: u8, step: u8, rules: Rules, next: &mut Vec<(By, Self)>) {
        let worker = self.workers[at];
        let mut state = *self;
        if rules.claim && worker.fence == 0 {
            state.workers[at] = IDLE;
            return next.push((By::Titan, state));
        }
        let Some(run) = self.pulls[usize::from(pull)].run.filter(|run| run.step == step) else {
            state.wrong = Some(Wrong::TwoEffects);
            return next.push((By::Titan, state));
        };
        let name = run.current();
        if name != StepName::Restore && name != StepName::Merge {
            let mut failed = *self;
            failed.workers[at].task = Task::Records { pull, step, end: StepEnd::Failed { touched: false } };
            next.push((By::Titan, failed));
        }
        let end = state.change_the_world(pull, &run);
        if end == StepEnd::Done
            && let Some(run) = &mut state.pulls[usize::from(pull)].run
        {
            run.effects += 1;
        }
        state.workers[at].task = Task::Records { pull, step, end };
        next.push((By::Titan, state));
    }

    fn change_the_world(&mut self, pull: u8, run: &Run) -> StepEnd {
        let this = usize::from(pull);
        match (run.current(), run.kind) {
            (StepName::Merge, _) => {
                // GitHub's own guard: another head, or closed, is not merged; merging twice is merging once.
                if self.pulls[this].head != run.head || !self.pulls[this].open && !self.pulls[this].merged {
                    return StepEnd::Stopped;
                }
                self.pulls[this].merged = true;
                self.pulls[this].open = false;
            }
            (StepName::Deploy, RunKind::Canary) => self.live[0] = version(pull, run.head),
            (StepName::Deploy, _) => {
                if self.pulls[this].passed != Some(run.head) {
                    self.wrong = Some(Wrong::Unpromoted);
                }
                self.live[1] = version(pull, run.head);
            }
            (StepName::Restore, RunKind::Rollback) => self.live[1] = 0,
            (StepName::Restore, _) => self.live[0] = 0,
            _ => {}
        }
        StepEnd::Done
    }

    /// The end of a step, in one transaction with what follows.
    fn record(&mut self, pull: u8, step: u8, end: StepEnd) {
        let this = usize::from(pull);
        let Some(mut run) = self.pulls[this].run.filter(|run| run.step == step) else {
            self.wrong = Some(Wrong::TwoCompletions);
            return;
        };
        let undoing = run.status == RunStatus::Undoing;
        let last = undoing || usize::from(step) + 1 >= run.steps().len();
        match after(run.kind, run.current(), end, last, undoing) {
            Consequence::Next => {
                (run.step, run.intent, run.effects) = (step + 1, false, 0);
                self.pulls[this].run = Some(run);
            }
            Consequence::PutBack => {
                let Ok(status) = next_status(run.status, RunEvent::UndoStarted) else {
                    self.wrong = Some(Wrong::IllegalMove);
                    return;
                };
                run.status = status;
                (run.step, run.intent, run.effects) = (run.steps().len() as u8, false, 0);
                self.pulls[this].run = Some(run);
            }
            Consequence::End { conclusion, locks, rollback } => {
                if next_status(run.status, RunEvent::Concluded(conclusion)).is_err() {
                    self.wrong = Some(Wrong::IllegalMove);
                    return;
                }
                if run.kind == RunKind::Canary && conclusion == crate::domain::run::Conclusion::Success {
                    self.pulls[this].passed = Some(run.head);
                }
                self.pulls[this].run = None;
                self.end(pull, &run, locks, rollback);
            }
        }
    }

    fn end(&mut self, pull: u8, run: &Run, locks: Locks, rollback: bool) {
        if rollback {
            let free = |at: usize| self.locks[at].is_none_or(|lock| lock.owner == pull);
            // Else a person took production away, and looks after it.
            if free(1) && !self.busy() {
                self.start(pull, RunKind::Rollback, run.head);
            }
            return;
        }
        for (at, held) in self.locks.iter_mut().enumerate() {
            if let Some(lock) = held.filter(|lock| lock.owner == pull) {
                let left = lock::left(locks, ENVIRONMENTS[at], lock.held_for);
                *held = left.map(|held_for| Lock { held_for, ..lock });
            }
        }
        if !self.pulls[usize::from(pull)].open {
            self.leave(pull);
        }
    }

    /// What must never be.
    fn check(&mut self) {
        let runs = || self.pulls.iter().filter_map(|pull| pull.run);
        let users = |env: Environment| runs().filter(|run| lock::needed(run.kind).contains(&env)).count();
        if ENVIRONMENTS.into_iter().any(|env| users(env) > 1) {
            self.wrong = Some(Wrong::TwoHolders);
        }
        if runs().any(|run| run.effects > 1) {
            self.wrong = Some(Wrong::TwoEffects);
        }
    }
}
