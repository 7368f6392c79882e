import sys, logging
logging.getLogger("skeldir_jwt_mw").disabled=True
from scenarios import *
from virtual import Violation
import court as C, world as W
seed=int(sys.argv[1]); t0=float(sys.argv[2]); pidf=int(sys.argv[3]) if len(sys.argv)>3 else None
kinds=None
oc=C.Court.close
def close(self,case,status,code):
    w=self.world
    pid=case.worker.process.pid
    if w.now>=t0 and (pidf is None or pid==pidf): print(f"{w.now:.3f} pid {pid} key {case.token.number} known {case.known} opened {case.opened_at:.3f} -> {status} {code}")
    oc(self,case,status,code)
C.Court.close=close
oa=W.Database.ask
def ask(self,process,asked,execute):
    w=self._world; t=w.now
    try: v=oa(self,process,asked,execute); return v
    except BaseException as e: v=e; raise
    finally:
        if w.now>=t0 and (pidf is None or process.pid==pidf or not isinstance(asked,type(None))):
            d=getattr(v,'verdict',v); 
            print(f"   {t:.3f}-{w.now:.3f} pid {process.pid} {type(asked).__name__} force={getattr(asked,'force','')} {getattr(asked,'reason','')} -> {d if not hasattr(d,'payload') else ''} lease_left={getattr(v,'lease_left','')} gen={getattr(v,'generation','')}")
W.Database.ask=ask
of=W.Provider.fetch
def fetch(self,c):
    w=self._world; t=w.now
    try: v=of(self,c); return v
    except BaseException as e: v=e; raise
    finally:
        if w.now>=t0: print(f"   {t:.3f}-{w.now:.3f} pid {w.kernel.process.pid} FETCH mode {self.mode} {v!r:.60}")
W.Provider.fetch=fetch
od=Life.do
def do(self,kind):
    if self.world.now>=t0: print(f"## {self.world.now:.3f} {kind}")
    od(self,kind)
Life.do=do
orr=W.Provider.rotate
def rot(self,**k):
    orr(self,**k)
    if self._world.now>=t0: print(f"## {self._world.now:.3f} rotate {self.keys}")
W.Provider.rotate=rot
try: r=by_chance(seed); print(r.kind, r.world.policy)
except Violation as e: print(e)
import random
print(drawn_policy(random.Random(seed)))
