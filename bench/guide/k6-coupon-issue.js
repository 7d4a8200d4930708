import http from 'k6/http';  
import { check } from 'k6';

export const options = {  
scenarios: {  
coupon_issuance: {  
executor: 'constant-arrival-rate',  
rate: 1000,           // 1분 동안 1000건 요청  
timeUnit: '1m',       // 시간 단위: 1분  
duration: '1m',       // 테스트 총 길이: 1분  
preAllocatedVUs: 100, // 최소 VU 수  
maxVUs: 1000,         // 최대 VU 수  
},  
},  
};

const baseUrl = 'http://localhost:8080';

export default function () {  
const userIdBase = 41593;  
// 41593 ~ 42592 범위 내에서 랜덤 userId 선택  
const userId = userIdBase + Math.floor(Math.random() * 1000);  
const couponId = 1;

const res = http.post(`${baseUrl}/coupons/${userId}/issue-async?couponId=${couponId}`);

check(res, {  
'status is 200 or 201': (r) => r.status === 200 || r.status === 201,  
});  
}
